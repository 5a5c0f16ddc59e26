"""A part of a pool: the blocks that one worker looks after, and what it does with them.

A part numbers its rows anew, block after block; whatever goes in or out carries the numbers of the whole pool. It holds
the state that belongs to its rows (norms, bounds), so that only candidates, scores and picks travel.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Literal

import numpy as np
import torch

from asvp.selection.geometry.bounds import HeldBounds
from asvp.selection.geometry.points import Points, full_precision
from asvp.selection.pool.pool import Block, Pool, Score, required
from asvp.selection.pool.ranking import Best, best_rows
from asvp.selection.pool.spaces import EuclideanSpace, GradientSpace, block_sums, largest_number
from asvp.selection.rows import BLOCK_ROWS, Array, BlockRows, FeatureRows

HeldInput = Literal["features", "probabilities", "raw_features"] | int
"""An input by its name, or a member of the ensemble by its number."""


class PoolPart:
    """Some blocks of a pool.

    Parameters
    ----------
    pool : Pool
        The whole pool, of which only these blocks are read.
    blocks : ndarray of int64
        Numbers of the blocks, ascending.
    """

    def __init__(self, pool: Pool, blocks: Array) -> None:
        self._blocks = blocks
        self._pool = _part_of(pool, blocks)
        self._space: EuclideanSpace | GradientSpace | None = None
        self._bounds: HeldBounds | None = None

    def map(self, function: Callable[[Block], Array]) -> Array:
        """What a row-wise function makes of all rows here."""
        return np.concatenate([function(block) for block in self._numbered_blocks()])

    def best(self, score: Score, count: int) -> Best:
        """The `count` unlabelled rows of the highest score here, and their scores."""
        return best_rows(self._numbered_blocks(), score, self._pool.is_labelled(), count)

    def gather(self, name: HeldInput, rows: Array) -> Array:
        """An input of the rows named."""
        return required(self._input(name)).gather(self._inside(rows))

    def span(self, name: HeldInput, start: int, stop: int) -> Array:
        """An input of rows of one block."""
        first = int(self._inside(np.array([start]))[0])
        return np.array(required(self._input(name)).span(first, first + stop - start))

    def largest_number(self) -> float:
        """Of the features here, in magnitude."""
        return largest_number(required(self._pool.features))

    def block_sums(self, exponent: int) -> Array:
        """Sums of the features of each block here, divided by two to a power, (blocks, D) float32."""
        with full_precision():
            sums = block_sums(required(self._pool.features), self._pool.device, exponent=exponent)
            return torch.stack(list(sums)).cpu().numpy()

    def open_euclidean(self, mean: Array, exponent: int) -> float:
        """Begin with the space of the features, given their mean; return the largest squared norm."""
        with full_precision():
            centre = torch.tensor(mean, device=self._pool.device)
            features = required(self._pool.features)
            self._space = EuclideanSpace(features, self._pool.device, mean=centre, exponent=exponent)
        return self._space.geometry.largest

    def open_gradients(self, exponent: int) -> float:
        """Begin with the space of BADGE's gradients; return the largest squared norm."""
        with full_precision():
            inputs = required(self._pool.features), required(self._pool.probabilities)
            self._space = GradientSpace(*inputs, self._pool.device, exponent=exponent)
        return self._space.geometry.largest

    def longest(self, excluded: Array) -> tuple[int, float]:
        """The row of the largest gradient here but those excluded, and its squared norm."""
        assert isinstance(self._space, GradientSpace)
        row, norm = self._space.longest(self._inside(excluded))
        return int(self._outside(np.array([row]))[0]), norm

    def points(self, rows: Array) -> Points:
        """The rows named, in the space that is open."""
        assert self._space is not None
        return self._space.points(self._inside(rows)).to("cpu")

    def open_bounds(self, excluded: Array) -> None:
        """Begin with infinite bounds in the space that is open."""
        assert self._space is not None
        self._bounds = self._space.bounds(self._inside(excluded))

    def exclude(self, rows: Array) -> None:
        """As `Bounds.exclude`."""
        self._held.exclude(self._inside(rows))

    def lower(self, centres: Points) -> None:
        """As `Bounds.lower`."""
        with full_precision():
            self._held.lower(centres.to(self._pool.device))

    def sum_bounds(self) -> Array:
        """Sum of the bounds of each block here."""
        return self._held.block_sums()

    def find(self, blocks: Array, rests: Array) -> Array:
        """As `HeldBounds.find`, for blocks of the whole pool."""
        return self._outside(self._held.find(np.searchsorted(self._blocks, blocks), rests))

    def bounds_of(self, rows: Array) -> Array:
        """As `Bounds.of`."""
        return self._held.of(self._inside(rows)).cpu().numpy()

    def put(self, rows: Array, values: Array) -> None:
        """As `Bounds.put`."""
        self._held.put(self._inside(rows), torch.tensor(values, device=self._pool.device))

    def left(self) -> Array:
        """As `Bounds.left`."""
        return self._outside(self._held.left())

    def largest(self, count: int) -> tuple[Array, Array]:
        """As `HeldBounds.largest`."""
        rows, values = self._held.largest(count)
        return self._outside(rows), values

    def _numbered_blocks(self) -> Iterator[Block]:
        return self._pool.blocks(self._blocks * BLOCK_ROWS)

    @property
    def _held(self) -> HeldBounds:
        assert self._bounds is not None
        return self._bounds

    def _input(self, name: HeldInput) -> FeatureRows | None:
        if isinstance(name, int):
            return self._pool.members[name]
        return {
            "features": self._pool.features,
            "probabilities": self._pool.probabilities,
            "raw_features": self._pool.raw_features,
        }[name]

    def _inside(self, rows: Array) -> Array:
        return _renumbered(rows, self._blocks)

    def _outside(self, rows: Array) -> Array:
        return np.asarray(self._blocks[rows // BLOCK_ROWS] * BLOCK_ROWS + rows % BLOCK_ROWS)


def _part_of(pool: Pool, blocks: Array) -> Pool:
    """The pool of some blocks; all but the last block of a pool are full, so that blocks stay blocks."""

    def view(rows: FeatureRows | None) -> FeatureRows | None:
        return None if rows is None else BlockRows(rows, blocks)

    here = np.isin(pool.labelled // BLOCK_ROWS, blocks)
    labelled = _renumbered(pool.labelled[here], blocks)
    return replace(
        pool,
        size=int(np.minimum(BLOCK_ROWS, pool.size - blocks * BLOCK_ROWS).sum()),
        labelled=labelled,
        labels=None if pool.labels is None else pool.labels[here],
        features=view(pool.features),
        probabilities=view(pool.probabilities),
        raw_features=view(pool.raw_features),
        members=tuple(BlockRows(member, blocks) for member in pool.members),
    )


def _renumbered(rows: Array, blocks: Array) -> Array:
    """Rows of these blocks under the numbers they have in a part."""
    return np.asarray(np.searchsorted(blocks, rows // BLOCK_ROWS) * BLOCK_ROWS + rows % BLOCK_ROWS)
