"""Token numbers of many texts in one flat array, made with the tokenizers library alone: small processes can do it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray

_COUNT = np.dtype(np.int64)


class Tokens:
    """Token numbers of N texts, one after the other.

    Parameters
    ----------
    flat : np.ndarray
        (T,) int32, T tokens in all.
    lengths : np.ndarray
        (N,) int64, at least 1 each: tokens of each text.

    Attributes
    ----------
    flat, lengths : np.ndarray
    starts : np.ndarray
        (N,) int64, where each text begins in `flat`.
    """

    def __init__(self, flat: NDArray[np.int32], lengths: NDArray[np.int64]) -> None:
        self.flat = flat
        self.lengths = lengths
        self.starts = np.cumsum(lengths) - lengths

    @classmethod
    def of(cls, rows: Sequence[Sequence[int]]) -> Tokens:
        """Of a list of token numbers a text."""
        return cls._joined(map(len, rows), rows, len(rows))

    @classmethod
    def of_encodings(cls, encodings: Sequence[Any]) -> Tokens:
        """Of what a fast tokenizer's `encode_batch_fast` returns."""
        return cls._joined(map(len, encodings), map(attrgetter("ids"), encodings), len(encodings))

    @classmethod
    def _joined(cls, lengths: Iterable[int], rows: Iterable[Sequence[int]], count: int) -> Tokens:
        # Iterators of C alone: no step of Python's for a row or a token.
        sizes = np.fromiter(lengths, np.int64, count)
        return cls(np.fromiter(chain.from_iterable(rows), np.int32, int(sizes.sum())), sizes)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> list[int]:
        """Token numbers of one text."""
        start = self.starts[row]
        tokens: list[int] = self.flat[start : start + self.lengths[row]].tolist()
        return tokens

    def changed(self, rows: dict[int, list[int]]) -> Tokens:
        """With other tokens for some texts, by number."""
        if not rows:
            return self
        return Tokens.of([rows[row] if row in rows else self[row] for row in range(len(self))])

    def padded(self, rows: NDArray[np.int64], fill: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Token numbers and mask of some texts, (n, longest of them) int64, filled up on the right."""
        lengths = self.lengths[rows]
        places = np.arange(int(lengths.max()))
        mask = places < lengths[:, None]
        tokens = np.full(mask.shape, fill, np.int64)
        tokens[mask] = self.flat[(self.starts[rows][:, None] + places)[mask]]
        return tokens, mask.astype(np.int64)


class TokenReader:
    """Makes tokens of texts, both packed into bytes; it travels to other processes.

    Parameters
    ----------
    backend : tokenizers.Tokenizer
        Set to cut texts as they are to be cut.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    def __getstate__(self) -> dict[str, Any]:
        # Not part of what a tokenizer makes of itself when it is pickled.
        return {"backend": self._backend, "encode_special_tokens": self._backend.encode_special_tokens}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._backend = state["backend"]
        self._backend.encode_special_tokens = state["encode_special_tokens"]

    def __call__(self, content: bytes) -> NDArray[np.uint8]:
        """What `packed_texts` made of texts becomes what `unpacked_tokens` takes."""
        tokens = self.tokens(_unpacked_texts(content))
        return np.concatenate([_bytes_of(tokens.lengths), _bytes_of(tokens.flat)])

    def tokens(self, texts: list[str]) -> Tokens:
        """Token numbers of each text, with special tokens."""
        return Tokens.of_encodings(self._backend.encode_batch_fast(texts, add_special_tokens=True))


def packed_texts(texts: Sequence[str]) -> bytes:
    """Texts without halves of surrogate pairs, as a `TokenReader` takes them."""
    lengths = np.fromiter(map(len, texts), _COUNT, len(texts))
    return b"".join([np.array(len(texts), _COUNT).tobytes(), lengths.tobytes(), "".join(texts).encode()])


def unpacked_tokens(answers: Sequence[NDArray[np.uint8]], counts: Sequence[int]) -> Tokens:
    """Tokens of what several calls of a `TokenReader` gave, for so many texts each."""
    cuts = [count * _COUNT.itemsize for count in counts]
    lengths = [answer[:cut].view(_COUNT) for answer, cut in zip(answers, cuts, strict=True)]
    flats = [answer[cut:].view(np.int32) for answer, cut in zip(answers, cuts, strict=True)]
    return Tokens(np.concatenate(flats), np.concatenate(lengths))


def _unpacked_texts(content: bytes) -> list[str]:
    size = _COUNT.itemsize
    (count,) = np.frombuffer(content, _COUNT, 1).tolist()
    ends: list[int] = np.frombuffer(content, _COUNT, count, size).cumsum().tolist()
    text = content[size * (1 + count) :].decode()
    return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(array).view(np.uint8)
