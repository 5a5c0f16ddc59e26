"""On a GPU cuDNN's attention is for shapes that come again; masks that are made once change no bit of a feature."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_text_encoder, tiny_texts
from transformers import GPT2Config, GPT2Model

from asvp.config import EncoderConfig
from asvp.models.encoder import Encoder, attention_kernels
from asvp.models.encoder import encoder as encoder_module
from asvp.models.encoder.attention_kernels import attention_kernels as kernels
from asvp.models.encoder.attention_kernels import comes_again, masks_made_once

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def texts_of(rows: int, tokens: int) -> dict[str, torch.Tensor]:
    ones = torch.ones((rows, tokens), dtype=torch.int64)
    return {"input_ids": ones, "attention_mask": ones}


def images_of(rows: int) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.zeros((rows, 3, 2, 2), dtype=torch.uint8)}


@pytest.mark.parametrize(
    ("tensors", "again"),
    [
        # As many tokens as a batch may have, of texts cut at so many.
        (texts_of(1024, 128), True),
        (texts_of(512, 256), True),
        (texts_of(256, 512), True),
        # In training.
        (texts_of(32, 128), True),
        (texts_of(1023, 128), False),
        (texts_of(1024, 127), False),
        (texts_of(2048, 64), False),
        (texts_of(1312, 13), False),
        (images_of(256), True),
        (images_of(32), True),
        (images_of(44), False),
    ],
)
def test_the_shape_decides(tensors: dict[str, torch.Tensor], again: bool) -> None:
    assert comes_again(tensors) == again
    with kernels(tensors, CUDA):
        assert torch.backends.cuda.cudnn_sdp_enabled() == again
    assert torch.backends.cuda.cudnn_sdp_enabled()


def test_the_cpu_is_left_alone_and_an_error_leaves_things_as_they_were() -> None:
    few = texts_of(3, 5)
    with kernels(few, CPU):
        assert torch.backends.cuda.cudnn_sdp_enabled()
        assert attention_kernels._BIASES.get() is None
    with kernels(few, CUDA):
        with pytest.raises(KeyError), kernels(few, CUDA):
            raise KeyError
        assert not torch.backends.cuda.cudnn_sdp_enabled()
    assert torch.backends.cuda.cudnn_sdp_enabled()
    assert attention_kernels._BIASES.get() is None


def causal(folder: Path) -> Path:
    """A decoder, whose masks are not those of an encoder, with the tiny encoder's tokenizer."""
    tiny_text_encoder(folder)
    torch.manual_seed(0)
    GPT2Model(GPT2Config(vocab_size=200, n_embd=32, n_layer=2, n_head=2, n_positions=64)).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("make", [tiny_text_encoder, causal])
def test_masks_made_once_give_the_same_features(
    make: Any, dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = Encoder.load(EncoderConfig(model=str(make(tmp_path)), dtype=dtype, batch_size=8), "text", device="cpu")
    texts = tiny_texts(60)[0]
    plain = encoder.encode(texts)
    seen: list[torch.Tensor] = []
    attend = attention_kernels.sdpa_attention_forward

    def noted(module: Any, query: Any, key: Any, value: Any, given: torch.Tensor, **options: Any) -> Any:
        if given is not None:
            assert given.dtype == query.dtype
            assert all(stride % 8 == 0 for stride in given.stride()[:-1])
            seen.append(given)
        return attend(module, query, key, value, given, **options)

    monkeypatch.setattr(attention_kernels, "sdpa_attention_forward", noted)
    monkeypatch.setattr(encoder_module, "attention_kernels", lambda tensors, device: masks_made_once())
    np.testing.assert_array_equal(encoder.encode(texts), plain)
    assert len(seen) >= 8
    # Both layers have the same numbers of a batch.
    assert all(one is other for one, other in zip(seen[::2], seen[1::2], strict=True))


def test_what_else_is_added_is_added_to_truth_values(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[torch.Tensor] = []
    monkeypatch.setattr(attention_kernels, "sdpa_attention_forward", lambda *one, **_: given.append(one[4]))
    query = torch.zeros(2, 1, 3, 4)
    truth = torch.ones(2, 1, 3, 3, dtype=torch.bool)
    with masks_made_once():
        attention_kernels._attend(None, query, query, query, truth, position_bias=torch.zeros(1, 1, 3, 3))
        attention_kernels._attend(None, query, query, query, truth, position_bias=None)
    attention_kernels._attend(None, query, query, query, truth)
    assert [one.dtype for one in given] == [torch.bool, torch.float32, torch.bool]
