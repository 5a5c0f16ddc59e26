"""Two versions of the features of the same rows, read as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from asvp.features.cache import content_key
from asvp.features.feature_set import FeatureSet

_BLOCK_ROWS = 4096


@dataclass(frozen=True)
class SideBySide:
    """The features of two versions beside each other, (N, D1 + D2) float32; made where rows are read, and never kept.

    Each half is divided by the root of its mean variance, one number a half: inside a half distances keep their
    proportions, and both halves of one encoder weigh the same in a distance between rows.

    Attributes
    ----------
    first, second : FeatureSet
        Of the same N rows, cut into the same shards; the newer one last.
    """

    first: FeatureSet
    second: FeatureSet

    def __post_init__(self) -> None:
        if self.first.starts != self.second.starts:
            raise ValueError("the two versions are not of the same rows in the same shards")

    def __len__(self) -> int:
        return len(self.second)

    @property
    def version(self) -> int:
        """Of the newer half."""
        return self.second.version

    @property
    def fingerprint(self) -> str:
        """Equal for equal halves."""
        return content_key("side by side", self.first.fingerprint, self.second.fingerprint)

    @property
    def parts(self) -> tuple[FeatureSet, ...]:
        """The halves, the newer one last."""
        return self.first, self.second

    @property
    def scales(self) -> tuple[float, float]:
        """What each half is divided by."""
        (_, first), (_, second) = self._scaled
        return first, second

    @property
    def dim(self) -> int:
        """D1 + D2."""
        return self.first.dim + self.second.dim

    @property
    def nbytes(self) -> int:
        """Bytes of both halves as they are stored."""
        return self.first.nbytes + self.second.nbytes

    @cached_property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each dimension over all rows, shape (D1 + D2,)."""
        return np.concatenate([part.mean / scale for part, scale in self._scaled])

    @cached_property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each dimension over all rows, shape (D1 + D2,)."""
        return np.concatenate([part.std / scale for part, scale in self._scaled])

    def blocks(self) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Yield (first row, features of shape (n, D1 + D2)) for a few thousand rows at a time."""
        for start in range(0, len(self), _BLOCK_ROWS):
            yield start, self.span(start, min(start + _BLOCK_ROWS, len(self)))

    def span(self, start: int, stop: int) -> NDArray[np.floating]:
        """A copy of the features of rows `start` up to `stop`, (stop - start, D1 + D2)."""
        return self._joined([part.span(start, stop) for part in self.parts])

    def gather(self, rows: NDArray[np.integer] | Sequence[int]) -> NDArray[np.floating]:
        """A copy of the features of some rows, in any order, repeats allowed; (n, D1 + D2)."""
        return self._joined([part.gather(rows) for part in self.parts])

    def _joined(self, halves: Sequence[NDArray[np.floating]]) -> NDArray[np.float32]:
        joined = np.empty((len(halves[0]), self.dim), np.float32)
        places = (joined[:, : self.first.dim], joined[:, self.first.dim :])
        for place, half, (_, scale) in zip(places, halves, self._scaled, strict=True):
            np.divide(half, np.float32(scale), out=place, dtype=np.float32)
        return joined

    @cached_property
    def _scaled(self) -> tuple[tuple[FeatureSet, float], ...]:
        """The halves with what each is divided by; 1 where all rows are equal."""
        return tuple((part, float(np.sqrt(np.square(part.std).mean())) or 1.0) for part in self.parts)
