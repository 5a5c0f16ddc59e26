"""The operations that stand in for PyTorch's while training on a CPU compute the same thing."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_text_encoder, tiny_texts
from torch import nn
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from asvp.config import EncoderConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.models.training import repeatable
from asvp.models.training.attention import NAME, short_attention
from asvp.models.training.finetune import fine_tune
from asvp.models.training.repeatable import repeatable_convolutions, repeatable_gradients


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
            out, _ = ALL_ATTENTION_FUNCTIONS[NAME](nn.Module(), *leaves, given, is_causal=False)
        else:
            out = nn.functional.scaled_dot_product_attention(*leaves, attn_mask=given).transpose(1, 2)
        out.square().sum().backward()
        results.append([out.detach(), *(leaf.grad for leaf in leaves)])
    for expected, got in zip(*results, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-5)


def _attentions(model: nn.Module) -> set[str]:
    return {part.config._attn_implementation for part in model.modules() if hasattr(part, "config")}


def test_only_the_model_in_training_attends_differently_and_it_is_put_back(tmp_path: Path) -> None:
    folder = tiny_text_encoder(tmp_path)
    config = EncoderConfig(model=str(folder), dtype="float32")
    trained, other = (Encoder.load(config, "text", device="cpu").model for _ in range(2))
    functions = dict(AttentionInterface._global_mapping)
    with short_attention(trained):
        assert _attentions(trained) == {NAME}
        assert _attentions(other) == {"sdpa"}
        assert AttentionInterface._global_mapping == functions
    assert _attentions(trained) == {"sdpa"}
    with pytest.raises(KeyError), short_attention(trained):
        raise KeyError
    assert _attentions(trained) == {"sdpa"}


def test_a_model_that_was_told_to_attend_in_another_way_is_left_alone(tmp_path: Path) -> None:
    config = EncoderConfig(model=str(tiny_text_encoder(tmp_path)), dtype="float32")
    model = Encoder.load(config, "text", device="cpu").model
    model.set_attn_implementation("eager")
    with short_attention(model):
        assert _attentions(model) == {"eager"}
    assert _attentions(model) == {"eager"}


def test_training_attends_by_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it gradients depend on threads, which two threads on one core may hide."""
    calls = []
    own = ALL_ATTENTION_FUNCTIONS[NAME]
    monkeypatch.setitem(
        AttentionInterface._global_mapping, NAME, lambda *given, **more: (calls.append(1), own(*given, **more))[1]
    )
    encoder = Encoder.load(EncoderConfig(model=str(tiny_text_encoder(tmp_path)), dtype="float32"), "text", device="cpu")
    texts, labels = tiny_texts(8)
    fine_tune(encoder, texts, np.array(labels), classes=3, config=TrainingConfig(epochs=1), seed=0)
    # Two layers in one step; the look at the trained encoder is no training.
    assert len(calls) == 2


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


def test_cudnn_is_asked_for_sums_in_one_order_while_a_model_is_trained_on_a_gpu(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cudnn = torch.backends.cudnn
    monkeypatch.setattr(cudnn, "benchmark", True)
    assert not cudnn.deterministic
    with repeatable_convolutions(torch.device("cpu")):
        assert (cudnn.deterministic, cudnn.benchmark) == (False, True)
    with repeatable_convolutions(torch.device("cuda")):
        assert (cudnn.deterministic, cudnn.benchmark) == (True, False)
    assert (cudnn.deterministic, cudnn.benchmark) == (False, True)


def test_every_training_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[torch.device] = []

    def noted(device: torch.device) -> AbstractContextManager[None]:
        asked.append(device)
        return nullcontext()

    monkeypatch.setattr(repeatable, "repeatable_convolutions", noted)
    encoder = Encoder.load(EncoderConfig(model=str(tiny_text_encoder(tmp_path)), dtype="float32"), "text", device="cpu")
    texts, labels = tiny_texts(6)
    fine_tune(encoder, texts, np.array(labels), classes=3, config=TrainingConfig(epochs=1), seed=0)
    assert asked == [encoder.device]
