"""Token numbers of many texts in one flat array."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from operator import attrgetter
from typing import Any

import numpy as np
from numpy.typing import NDArray


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
