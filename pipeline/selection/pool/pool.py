"""What a strategy is given: the pool and what may be asked of all its rows at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from asvp.selection.geometry.bounds import Space
from asvp.selection.pool.ranking import best_rows
from asvp.selection.pool.spaces import EuclideanSpace, GradientSpace
from asvp.selection.rows import BLOCK_ROWS, Array, FeatureRows, SubsetRows


class HeadLike(Protocol):
    """A linear layer."""

    @property
    def weight(self) -> Array: ...

    @property
    def bias(self) -> Array: ...


class ScorerLike(Protocol):
    """A model that turns features into class probabilities."""

    def probabilities(self, features: Array) -> Array: ...


class Block:
    """Some consecutive rows, whose inputs are read when they are asked for.

    Parameters
    ----------
    pool : Pool
    start, stop : int
        Rows of that pool.
    first : int
        Number of the first row in the whole pool, where `pool` is a part of it.
    """

    def __init__(self, pool: Pool, start: int, stop: int, first: int) -> None:
        self.first = first
        self.start = start
        self._pool = pool
        self._stop = stop

    def __len__(self) -> int:
        return self._stop - self.start

    @property
    def features(self) -> Array:
        """(n, D)."""
        return self._read(self._pool.features)

    @property
    def probabilities(self) -> Array:
        """(n, C)."""
        return self._read(self._pool.probabilities)

    @property
    def members(self) -> Iterator[Array]:
        """(n, C) of each member."""
        return (self._read(member) for member in self._pool.members)

    def _read(self, rows: FeatureRows | None) -> Array:
        return required(rows).span(self.start, self._stop)


Score = Callable[[Block], Array]
"""A block of n rows to (n,) numbers, highest picked first."""


@dataclass(frozen=True)
class Pool:
    """Everything a strategy may look at. Labels are those of labelled rows only.

    Attributes
    ----------
    size : int
        Rows in the pool, N.
    labelled : ndarray of int64, shape (L,)
        Row numbers already labelled, ascending.
    labels : ndarray of int64, shape (L,), optional
        Their classes.
    device : str
        Where matrix products run.
    """

    size: int
    labelled: Array
    features: FeatureRows | None = None
    probabilities: FeatureRows | None = None
    raw_features: FeatureRows | None = None
    members: tuple[FeatureRows, ...] = ()
    labels: Array | None = None
    head: HeadLike | None = None
    scorer: ScorerLike | None = None
    device: str = "cpu"

    @property
    def encoder_features(self) -> FeatureRows | None:
        """The encoder's features: `raw_features`, or `features` where only those were given."""
        return self.features if self.raw_features is None else self.raw_features

    def unlabelled(self) -> Array:
        """Row numbers not labelled yet, ascending."""
        free = np.ones(self.size, dtype=bool)
        free[self.labelled] = False
        return np.flatnonzero(free)

    def is_labelled(self) -> Array:
        """Boolean mask of the labelled rows, shape (N,)."""
        mask = np.zeros(self.size, dtype=bool)
        mask[self.labelled] = True
        return mask

    def subset(self, rows: Array) -> Pool:
        """A pool of the rows named (ascending) and all labelled rows, numbered anew in ascending order.

        `kept(rows)` gives the row numbers here of the new numbers.
        """
        kept = self.kept(rows)

        def view(values: FeatureRows | None) -> FeatureRows | None:
            return None if values is None else SubsetRows(values, kept)

        return replace(
            self,
            size=len(kept),
            labelled=np.searchsorted(kept, self.labelled),
            features=view(self.features),
            probabilities=view(self.probabilities),
            raw_features=view(self.raw_features),
            members=tuple(SubsetRows(member, kept) for member in self.members),
        )

    def kept(self, rows: Array) -> Array:
        """Rows of `subset(rows)` under their numbers here, ascending."""
        return np.union1d(rows, self.labelled).astype(np.int64)

    def some(self, rows: Array) -> FeatureRows:
        """The features of the rows named, under new numbers."""
        return SubsetRows(required(self.features), rows)

    def blocks(self, numbers: Array | None = None) -> Iterator[Block]:
        """All rows in pieces of `BLOCK_ROWS`; `numbers` are those of their first rows, where they are not of here."""
        for start in range(0, self.size, BLOCK_ROWS):
            first = start if numbers is None else int(numbers[start // BLOCK_ROWS])
            yield Block(self, start, min(start + BLOCK_ROWS, self.size), first)

    def map(self, function: Callable[[Block], Array]) -> Array:
        """What a row-wise function makes of all blocks, (N, ...). It may be sent to where the rows lie."""
        return np.concatenate([function(block) for block in self.blocks()])

    def best(self, score: Score, count: int) -> Array:
        """The `count` unlabelled rows of the highest score, best first, ties by row number."""
        return best_rows(self.blocks(), score, self.is_labelled(), count)[0]

    def euclidean(self) -> Space:
        """The space of the features."""
        return EuclideanSpace(required(self.features), self.device)

    def gradients(self) -> GradientRows:
        """The space of BADGE's gradients."""
        return GradientSpace(required(self.features), required(self.probabilities), self.device)


class GradientRows(Space, Protocol):
    """The space of BADGE's gradients."""

    def longest(self, excluded: Array) -> tuple[int, float]:
        """The row of the largest gradient but those excluded, the first of equals, and its squared norm (or -1)."""
        ...


def required(rows: FeatureRows | None) -> FeatureRows:
    """An input which `select` has made sure is there."""
    if rows is None:
        raise ValueError("the strategy reads an input that its record does not name")
    return rows
