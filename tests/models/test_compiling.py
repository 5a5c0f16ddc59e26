"""A compiled forward pass gives nearly the same features, under a key of its own, or says why it cannot."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import pytest
import torch
import torch._dynamo.utils as dynamo
import torch._inductor.config as inductor
from tiny_encoders import tiny_text_encoder, tiny_texts

from asvp.config import EncoderConfig
from asvp.errors import EncoderError
from asvp.models.encoder import Encoder, check_encoder, encoder_spec_fingerprint

TEXTS = tiny_texts(70, seed=3)[0]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> EncoderConfig:
    return EncoderConfig(model=str(tiny_text_encoder(tmp_path_factory.mktemp("tiny") / "bert")), dtype="float32")


@pytest.fixture
def config(plain: EncoderConfig) -> EncoderConfig:
    return plain.model_copy(update={"compile": True})


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
def test_a_compiled_model_gives_nearly_the_same_features(plain: EncoderConfig, config: EncoderConfig) -> None:
    encoder = Encoder.load(config, "text", device="cpu")
    expected = Encoder.load(plain, "text", device="cpu").encode(TEXTS)
    counter = dynamo.counters["stats"]
    before = counter["unique_graphs"]
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-5)
    # What was compiled at the start serves batches of all sizes.
    assert counter["unique_graphs"] == before > 0
    changed = {name: array * 2 if "embeddings" in name else array for name, array in encoder.state().items()}
    encoder.load_state(changed)
    other = Encoder.load(plain, "text", device="cpu")
    other.load_state(changed)
    np.testing.assert_allclose(encoder.encode(TEXTS), other.encode(TEXTS), atol=1e-5)


def test_its_features_have_another_key(plain: EncoderConfig, config: EncoderConfig) -> None:
    assert encoder_spec_fingerprint(config, "text") != encoder_spec_fingerprint(plain, "text")


def test_without_a_compiler_it_says_so_before_work(config: EncoderConfig) -> None:
    said = "encoder.compile: a forward pass cannot be compiled here: there is no C"
    for use in (check_encoder, Encoder.load):
        with inductor.patch({"cpp.cxx": ("/no/such/compiler",)}), pytest.raises(EncoderError, match=said):
            use(config, "text", device="cpu")


def test_a_model_that_cannot_be_compiled_is_told(config: EncoderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(**_: Any) -> Any:
        raise RuntimeError("an operation without a meaning")

    monkeypatch.setattr(torch, "compile", lambda model, **_: fails)
    with pytest.raises(EncoderError, match="the model cannot be compiled: an operation without a meaning"):
        Encoder.load(config, "text", device="cpu")


def test_features_that_compiling_changes_are_refused(config: EncoderConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_badly(model: Any, **_: Any) -> Any:
        def forward(**tensors: Any) -> Any:
            out = model(**tensors)
            out.last_hidden_state[..., 0] += 3
            return out

        return forward

    monkeypatch.setattr(torch, "compile", compile_badly)
    with pytest.raises(EncoderError, match="compiling changes the features"):
        Encoder.load(config, "text", device="cpu")
