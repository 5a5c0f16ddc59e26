"""Mean and standard deviation of features, gathered shard by shard."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

_BLOCK = 4096


@dataclass(frozen=True)
class Moments:
    """Count, mean and sum of squared deviations of each dimension.

    Attributes
    ----------
    count : int
    mean : ndarray of shape (D,), float64
    deviation : ndarray of shape (D,), float64
        Sum of (x - mean)².
    """

    count: int
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, features: NDArray[np.floating]) -> Moments:
        """Moments of features of shape (n, D), n ≥ 1, in bounded extra memory."""
        parts = []
        for start in range(0, len(features), _BLOCK):
            block = features[start : start + _BLOCK].astype(np.float64)
            mean = block.mean(axis=0)
            # In place: to be given more memory takes longer than to compute.
            block -= mean
            parts.append(cls(len(block), mean, np.square(block, out=block).sum(axis=0)))
        return reduce(cls.merge, parts)

    def merge(self, other: Moments) -> Moments:
        """Moments of both together (Chan, Golub and LeVeque 1979)."""
        count = self.count + other.count
        shift = other.mean - self.mean
        return Moments(
            count,
            self.mean + shift * (other.count / count),
            self.deviation + other.deviation + np.square(shift) * (self.count * other.count / count),
        )

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each dimension, shape (D,)."""
        return np.sqrt(self.deviation / self.count)


class MomentsInOrder:
    """Moments of shards that come in any order, merged in the order of their numbers.

    Only those are held whose turn has not come: two arrays of D numbers for each of many shards would be more than all
    else that is known of them. The order decides the last bits.
    """

    def __init__(self) -> None:
        self._waiting: dict[int, Moments] = {}
        self._next = 0
        self._merged: Moments | None = None

    def add(self, number: int, moments: Moments) -> None:
        """Take those of a shard; of another width than the ones before, they are left out."""
        self._waiting[number] = moments
        while (following := self._waiting.pop(self._next, None)) is not None:
            self._next += 1
            if self._merged is None:
                self._merged = following
            elif self._merged.mean.shape == following.mean.shape:
                self._merged = self._merged.merge(following)

    def all(self) -> Moments:
        """Of all shards, none of which may be missing."""
        assert self._merged is not None, "there is no shard"
        assert not self._waiting, "a shard's moments are missing"
        return self._merged
