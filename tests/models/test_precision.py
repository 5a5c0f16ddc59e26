"""The type of the matrix products is decided from processor and width, never from a clock."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_encoders import tiny_image_encoder, tiny_text_encoder

from asvp.config import EncoderConfig
from asvp.models.encoder import resolve_dtype
from asvp.models.precision import cpu_has_bfloat16, decide_dtype

CPU = torch.device("cpu")


@pytest.fixture(params=[True, False], ids=["with bfloat16", "without"])
def processor(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    has: bool = request.param
    monkeypatch.setattr("asvp.models.precision.cpu_has_bfloat16", lambda: has)
    return has


@pytest.mark.parametrize("width", [32, 127, 128, 384, 4096])
def test_auto_is_bfloat16_for_wide_models_on_processors_that_have_it(processor: bool, width: int) -> None:
    expected = "bfloat16" if processor and width >= 128 else "float32"
    assert {decide_dtype(EncoderConfig(), CPU, lambda: width) for _ in range(5)} == {expected}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_what_is_asked_for_is_taken(processor: bool, dtype: str) -> None:
    assert decide_dtype(EncoderConfig(dtype=dtype), CPU, lambda: 1024) == dtype


def test_the_width_is_that_of_the_model(processor: bool, tmp_path: Path) -> None:
    """Also of families whose configuration has no hidden_size: then it is the widest square product."""
    wide = tiny_text_encoder(tmp_path / "wide", hidden_size=128)
    narrow = tiny_image_encoder(tmp_path / "narrow", "resnet")
    expected = "bfloat16" if processor else "float32"
    assert resolve_dtype(EncoderConfig(model=str(wide)), "text", device="cpu") == expected
    assert resolve_dtype(EncoderConfig(model=str(narrow)), "image", device="cpu") == "float32"


def test_the_processor_is_asked_once_and_says_the_same() -> None:
    assert cpu_has_bfloat16() is cpu_has_bfloat16()
