"""The operations that stand in for PyTorch's while training on a CPU compute the same thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_text_encoder, tiny_texts
from torch import nn
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from asvp.config import EncoderConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.models.training.attention import short_attention
from asvp.models.training.finetune import fine_tune
from asvp.models.training.repeatable import repeatable_gradients


def test_layer_norm_has_the_outputs_and_gradients_of_pytorch() -> None:
    generator = torch.Generator().manual_seed(0)
    rows, slopes = torch.randn(5, 7, 16, generator=generator), torch.randn(5, 7, 16, generator=generator)
    results = []
    norm = nn.LayerNorm(16)
    with torch.no_grad():
        norm.weight.copy_(torch.randn(16, generator=generator))
    for own in (False, True):
        inputs = rows.clone().requires_grad_()
        norm.zero_grad()
        if own:
            with repeatable_gradients(norm):
                out = norm(inputs)
        else:
            out = norm(inputs)
        out.backward(slopes)
        results.append([out.detach(), inputs.grad, norm.weight.grad.clone(), norm.bias.grad.clone()])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("masking", ["none", "bool", "float"])
def test_attention_has_the_outputs_and_gradients_of_pytorch(masking: str) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(3, 2, 9, 8, generator=generator) for _ in range(3)]
    mask = torch.ones(3, 1, 9, 9, dtype=torch.bool)
    mask[1:, ..., 6:] = False
    given = {
        "none": None,
        "bool": mask,
        "float": torch.zeros(3, 1, 9, 9).masked_fill(~mask, torch.finfo(torch.float32).min),
    }[masking]
    results = []
    for own in (False, True):
        leaves = [tensor.clone().requires_grad_() for tensor in tensors]
        if own:
            with short_attention(torch.device("cpu")):
                out, _ = ALL_ATTENTION_FUNCTIONS["sdpa"](nn.Module(), *leaves, given, is_causal=False)
        else:
            out = nn.functional.scaled_dot_product_attention(*leaves, attn_mask=given).transpose(1, 2)
        out.square().sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def test_transformers_attention_is_put_back() -> None:
    before = ALL_ATTENTION_FUNCTIONS["sdpa"]
    with pytest.raises(KeyError), short_attention(torch.device("cpu")):
        raise KeyError
    assert ALL_ATTENTION_FUNCTIONS["sdpa"] is before


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_fine_tuning_gives_the_same_weights_on_one_thread_and_on_two(tmp_path: Path, dtype: str) -> None:
    folder = tiny_text_encoder(tmp_path)
    texts, labels = tiny_texts(40)
    threads, states = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            encoder = Encoder.load(EncoderConfig(model=str(folder), dtype=dtype), "text", device="cpu")
            fine_tune(encoder, texts, np.array(labels), classes=3, config=TrainingConfig(epochs=2), seed=0)
            states.append(encoder.state())
    finally:
        torch.set_num_threads(threads)
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)
