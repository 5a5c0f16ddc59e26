"""Upper bounds of every row's distance to the nearest centre: the state of the lazy greedy algorithms.

Everything asked of bounds is a map over blocks and a small merge, so that they can be kept in pieces, one beside each
shard (`asvp.selection.pool.sharded`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch

from asvp.selection.geometry.points import Geometry, Points, lower
from asvp.selection.rows import BLOCK_ROWS, Array

_CENTRES_AT_ONCE = 256


class Space(Protocol):
    """N rows with distances."""

    @property
    def device(self) -> torch.device: ...

    @property
    def geometry(self) -> Geometry: ...

    def __len__(self) -> int: ...

    def points(self, rows: Array) -> Points:
        """The rows named."""
        ...

    def bounds(self, excluded: Array) -> Bounds:
        """Infinite bounds of all rows but those excluded, which are never picked."""
        ...


class HeldSpace(Space, Protocol):
    """A space whose rows are read in this process."""

    def blocks(self) -> Iterator[tuple[int, Points]]:
        """(first row, rows) in pieces of `BLOCK_ROWS`."""
        ...


class Bounds(Protocol):
    """Upper bounds of each row's squared distance to the nearest centre; -1 for rows that are never picked."""

    def exclude(self, rows: Array) -> None:
        """Never pick these rows (again): centres have no distance to themselves."""
        ...

    def lower(self, centres: Points) -> None:
        """Bring all bounds down to the distances to these centres."""
        ...

    def total(self) -> float:
        """Sum of the bounds; has to be called before `draw` when they changed."""
        ...

    def draw(self, shares: Array) -> Array:
        """Rows drawn in proportion to their bounds, one for each uniform number in [0, 1)."""
        ...

    def of(self, rows: Array) -> torch.Tensor:
        """A copy of the bounds of the rows named, float32."""
        ...

    def put(self, rows: Array, values: torch.Tensor) -> None:
        """Replace the bounds of the rows named."""
        ...

    def left(self) -> Array:
        """Rows that may be picked, ascending."""
        ...

    def top(self, count: int) -> tuple[Array, float]:
        """The `count` rows of the largest bounds, ascending by number, and the largest bound of all others (or -1)."""
        ...


class HeldBounds:
    """Bounds in the memory of this process.

    Parameters
    ----------
    space : HeldSpace
    excluded : ndarray of int64
        Rows that are never picked.
    """

    def __init__(self, space: HeldSpace, excluded: Array) -> None:
        self.space = space
        self.values = torch.full((len(space),), torch.inf, dtype=torch.float32, device=space.device)
        self.exclude(excluded)
        self._sums = np.empty((0, 0))

    def exclude(self, rows: Array) -> None:
        self.values[self._places(rows)] = -1.0

    def lower(self, centres: Points) -> None:
        for first, block in self.space.blocks():
            held = self.values[first : first + len(block)]
            for start in range(0, len(centres), _CENTRES_AT_ONCE):
                lower(self.space.geometry, held, block, centres[start : start + _CENTRES_AT_ONCE])

    def total(self) -> float:
        return total_of(self.block_sums())

    def block_sums(self) -> Array:
        """Sum of the bounds of each block, float64."""
        weights = np.zeros(-(-len(self.values) // BLOCK_ROWS) * BLOCK_ROWS)
        weights[: len(self.values)] = self.values.clamp(min=0).double().cpu().numpy()
        self._sums = np.cumsum(weights.reshape(-1, BLOCK_ROWS), axis=1)
        return np.asarray(self._sums[:, -1])

    def draw(self, shares: Array) -> Array:
        return self.find(*blocks_of_shares(self._sums[:, -1], shares))

    def find(self, blocks: Array, rests: Array) -> Array:
        """The row of each block at which the sum of its bounds passes `rests`."""
        inside = np.array(
            [np.searchsorted(self._sums[block], rest, side="right") for block, rest in zip(blocks, rests, strict=True)],
            dtype=np.int64,
        )
        return np.asarray(np.minimum(blocks * BLOCK_ROWS + inside, len(self.values) - 1))

    def of(self, rows: Array) -> torch.Tensor:
        return self.values[self._places(rows)]

    def put(self, rows: Array, values: torch.Tensor) -> None:
        self.values[self._places(rows)] = values

    def left(self) -> Array:
        return np.flatnonzero((self.values >= 0).cpu().numpy())

    def top(self, count: int) -> tuple[Array, float]:
        rows, values = self.largest(count + 1)
        return top_of(rows, values, count)

    def largest(self, count: int) -> tuple[Array, Array]:
        """Up to `count` rows of the largest bounds, in any order, and their bounds."""
        if count >= len(self.values):
            return np.arange(len(self.values)), self.values.cpu().numpy()
        values, places = torch.topk(self.values, count)
        return places.cpu().numpy(), values.cpu().numpy()

    def _places(self, rows: Array) -> torch.Tensor:
        return torch.from_numpy(rows).to(self.space.device)


def total_of(block_sums: Array) -> float:
    """Sum over all blocks, added in their order."""
    return float(np.cumsum(block_sums)[-1])


def blocks_of_shares(block_sums: Array, shares: Array) -> tuple[Array, Array]:
    """For each share in [0, 1) of the sum of all blocks: the block it falls into, and what is left of it there."""
    ends = np.cumsum(block_sums)
    places = shares * ends[-1]
    blocks = np.minimum(np.searchsorted(ends, places, side="right"), len(ends) - 1)
    return blocks, places - (ends[blocks] - block_sums[blocks])


def top_of(rows: Array, values: Array, count: int) -> tuple[Array, float]:
    """The result of `Bounds.top` from candidates, the `count` + 1 largest among them; ties by row number."""
    order = np.lexsort((rows, -values))
    chosen, outside = order[:count], order[count:]
    kept = np.sort(rows[chosen[values[chosen] >= 0]])
    return kept, float(values[outside[0]]) if len(outside) else -1.0
