"""Selection on a pool in parts: the same picks as on one pool in one process.

A strategy asks a pool for maps over all rows, for the best rows by a score, for rows by number, and for a space with
bounds. Here each of these is one call to every part and a merge. Blocks are those of the whole pool and sums are added
in the order of blocks, so results do not depend on the parts, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch

from asvp.selection.geometry.bounds import Space, blocks_of_shares, top_of, total_of
from asvp.selection.geometry.points import Euclidean, Geometry, OuterProducts, Points
from asvp.selection.pool.part import HeldInput, PoolPart
from asvp.selection.pool.pool import Block, GradientRows, Pool, Score, required
from asvp.selection.pool.ranking import merge_best
from asvp.selection.pool.spaces import is_tiny, mean_of, scale_of
from asvp.selection.rows import BLOCK_ROWS, Array, ArrayRows, FeatureRows


class Crew(Protocol):
    """Those who hold the parts of a pool, each a `PoolPart` in this or another process."""

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every part with the same arguments; results in the order of parts."""
        ...

    def each(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Call a method of the parts named, each with its own arguments."""
        ...


class LocalCrew:
    """Parts in this process: what actors do, without actors."""

    def __init__(self, pool: Pool, owners: Array) -> None:
        self._parts = [PoolPart(pool, np.flatnonzero(owners == part)) for part in range(int(owners.max()) + 1)]

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every part."""
        return [getattr(part, method)(*arguments) for part in self._parts]

    def each(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Call a method of the parts named."""
        return {part: getattr(self._parts[part], method)(*given) for part, given in arguments.items()}


@dataclass(frozen=True)
class Parts:
    """A crew, and who of it has which block.

    Attributes
    ----------
    crew : Crew
    owners : ndarray of int64, shape (blocks,)
        The part that has each block of the pool.
    size : int
        Rows of the pool, N.
    """

    crew: Crew
    owners: Array
    size: int

    def split(self, rows: Array) -> dict[int, Array]:
        """Places in `rows` that belong to each part, for those that have any."""
        owners = self.owners[rows // BLOCK_ROWS]
        return {int(part): np.flatnonzero(owners == part) for part in np.unique(owners)}

    def fetch(self, method: str, rows: Array, *before: Any) -> dict[int, tuple[Array, Any]]:
        """Call a method with the rows that each part has; its places in `rows` and its answer, for each part."""
        places = self.split(rows)
        answers = self.crew.each(method, {part: (*before, rows[inside]) for part, inside in places.items()})
        return {part: (places[part], answer) for part, answer in answers.items()}

    def by_block(self, answers: list[Array]) -> Array:
        """One number or vector a block, from what every part tells of its blocks in their order."""
        joined = np.empty((len(self.owners), *answers[0].shape[1:]), answers[0].dtype)
        for part, answer in enumerate(answers):
            joined[self.owners == part] = answer
        return joined

    def by_row(self, answers: list[Array]) -> Array:
        """One number or vector a row, from what every part tells of its rows in their order."""
        owners = np.repeat(self.owners, BLOCK_ROWS)[: self.size]
        joined = np.empty((self.size, *answers[0].shape[1:]), answers[0].dtype)
        for part, answer in enumerate(answers):
            joined[owners == part] = answer
        return joined


@dataclass(frozen=True)
class PartRows:
    """FeatureRows that lie with the parts; only what is asked for travels."""

    parts: Parts
    name: HeldInput
    source: FeatureRows

    def __len__(self) -> int:
        return self.parts.size

    @property
    def dim(self) -> int:
        """Numbers in a row, D."""
        return self.source.dim

    def span(self, start: int, stop: int) -> Array:
        """Rows `start` up to `stop`, block by block."""
        pieces = []
        while start < stop:
            end = min(stop, (start // BLOCK_ROWS + 1) * BLOCK_ROWS)
            part = int(self.parts.owners[start // BLOCK_ROWS])
            pieces.append(self.parts.crew.each("span", {part: (self.name, start, end)})[part])
            start = end
        return np.concatenate(pieces)

    def gather(self, rows: Array) -> Array:
        """The rows named, in the order given."""
        if not len(rows):
            return self.source.gather(rows)
        fetched = self.parts.fetch("gather", rows, self.name)
        first = next(iter(fetched.values()))[1]
        gathered = np.empty((len(rows), first.shape[1]), first.dtype)
        for places, values in fetched.values():
            gathered[places] = values
        return gathered


@dataclass(frozen=True)
class ShardedPool(Pool):
    """A pool in parts. Make one with `sharded`."""

    parts: Parts = field(kw_only=True)

    def subset(self, rows: Array) -> Pool:
        """A pool in this process of the rows named and all labelled rows, which are read from the parts."""
        plain = {name: getattr(self, name) for name in Pool.__dataclass_fields__}
        return Pool(**plain).subset(rows)

    def some(self, rows: Array) -> FeatureRows:
        """The features of the rows named, fetched once."""
        return ArrayRows(required(self.features).gather(rows))

    def map(self, function: Callable[[Block], Array]) -> Array:
        """One map where the rows lie; only its results travel."""
        return self.parts.by_row(self.parts.crew.all("map", function))

    def best(self, score: Score, count: int) -> Array:
        """One map where the rows lie and one merge of the best."""
        return merge_best(self.parts.crew.all("best", score, count), count)[0]

    def euclidean(self) -> Space:
        """The space of the features, its rows and bounds with the parts."""
        geometry = self._open_euclidean(0)
        exponent = self._exponent(geometry.largest)
        return ShardedSpace(self.parts, self._open_euclidean(exponent) if exponent else geometry)

    def gradients(self) -> GradientRows:
        """The space of BADGE's gradients, its rows and bounds with the parts."""
        largest = max(self.parts.crew.all("open_gradients", 0))
        exponent = self._exponent(largest)
        if exponent:
            largest = max(self.parts.crew.all("open_gradients", exponent))
        return ShardedSpace(self.parts, OuterProducts(largest))

    def _open_euclidean(self, exponent: int) -> Euclidean:
        sums = self.parts.by_block(self.parts.crew.all("block_sums", exponent))
        mean = mean_of(torch.from_numpy(sums), self.size)
        return Euclidean(mean, max(self.parts.crew.all("open_euclidean", mean.numpy(), exponent)))

    def _exponent(self, largest: float) -> int:
        """As a pool in one process finds it."""
        return scale_of(max(self.parts.crew.all("largest_number"))) if is_tiny(largest) else 0


def sharded(pool: Pool, owners: Array, crew: Crew) -> ShardedPool:
    """The same pool, its rows looked at by a crew.

    Parameters
    ----------
    pool : Pool
    owners : ndarray of int64, shape (blocks,)
        The part that has each block of `BLOCK_ROWS` rows; part numbers from 0 without a gap.
    crew : Crew
    """
    parts = Parts(crew, owners, pool.size)

    def view(name: HeldInput, rows: FeatureRows | None) -> FeatureRows | None:
        return None if rows is None else PartRows(parts, name, rows)

    fields = {name: getattr(pool, name) for name in Pool.__dataclass_fields__}
    fields |= {
        "features": view("features", pool.features),
        "probabilities": view("probabilities", pool.probabilities),
        "raw_features": view("raw_features", pool.raw_features),
        "members": tuple(PartRows(parts, number, member) for number, member in enumerate(pool.members)),
        "device": "cpu",
    }
    return ShardedPool(**fields, parts=parts)


class ShardedSpace:
    """A space that every part has opened; its centres are in this process.

    Parameters
    ----------
    parts : Parts
    geometry : Geometry
        Of the whole pool.
    """

    def __init__(self, parts: Parts, geometry: Geometry) -> None:
        self.geometry = geometry
        self.device = torch.device("cpu")
        self._parts = parts

    def __len__(self) -> int:
        return self._parts.size

    def points(self, rows: Array) -> Points:
        """The rows named."""
        fetched = self._parts.fetch("points", rows)
        joined = Points.join([points for _, points in fetched.values()])
        order = np.argsort(np.concatenate([places for places, _ in fetched.values()]))
        return joined[torch.from_numpy(order)]

    def longest(self, excluded: Array) -> tuple[int, float]:
        """The row of the largest gradient but those excluded, the first of equals, and its squared norm."""
        found: list[tuple[int, float]] = self._told_apart("longest", excluded)
        return min(found, key=lambda one: (-one[1], one[0]))

    def bounds(self, excluded: Array) -> ShardedBounds:
        """Infinite bounds of all rows but those excluded."""
        self._told_apart("open_bounds", excluded)
        return ShardedBounds(self._parts)

    def _told_apart(self, method: str, rows: Array) -> list[Any]:
        """Call a method of every part with those of the rows that it has."""
        places = self._parts.split(rows)
        none = np.empty(0, dtype=np.int64)
        every = range(int(self._parts.owners.max()) + 1)
        answers = self._parts.crew.each(
            method, {part: (rows[places[part]] if part in places else none,) for part in every}
        )
        return list(answers.values())


class ShardedBounds:
    """Bounds that lie with the parts, in the space that every part has opened."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sums = np.empty(0)

    def exclude(self, rows: Array) -> None:
        """Never pick these rows (again)."""
        self._parts.fetch("exclude", rows)

    def lower(self, centres: Points) -> None:
        """Bring all bounds down to the distances to these centres."""
        self._parts.crew.all("lower", centres.copy())

    def total(self) -> float:
        """Sum of the bounds."""
        self._sums = self._parts.by_block(self._parts.crew.all("sum_bounds"))
        return total_of(self._sums)

    def draw(self, shares: Array) -> Array:
        """Rows drawn in proportion to their bounds."""
        blocks, rests = blocks_of_shares(self._sums, shares)
        places = self._parts.split(blocks * BLOCK_ROWS)
        found = self._parts.crew.each("find", {part: (blocks[here], rests[here]) for part, here in places.items()})
        rows = np.empty(len(shares), dtype=np.int64)
        for part, here in places.items():
            rows[here] = found[part]
        return rows

    def of(self, rows: Array) -> torch.Tensor:
        """A copy of the bounds of the rows named."""
        values = np.empty(len(rows), dtype=np.float32)
        for places, found in self._parts.fetch("bounds_of", rows).values():
            values[places] = found
        return torch.from_numpy(values)

    def put(self, rows: Array, values: torch.Tensor) -> None:
        """Replace the bounds of the rows named."""
        told = values.numpy()
        places = self._parts.split(rows)
        self._parts.crew.each("put", {part: (rows[here], told[here]) for part, here in places.items()})

    def left(self) -> Array:
        """Rows that may be picked, ascending."""
        return np.sort(np.concatenate(self._parts.crew.all("left")))

    def top(self, count: int) -> tuple[Array, float]:
        """The `count` rows of the largest bounds, and the largest bound of all others."""
        found = self._parts.crew.all("largest", count + 1)
        return top_of(np.concatenate([rows for rows, _ in found]), np.concatenate([told for _, told in found]), count)


def even_owners(size: int, parts: int) -> Array:
    """Owners of the blocks of a pool in about equal runs."""
    blocks = -(-size // BLOCK_ROWS)
    return np.arange(blocks) * min(parts, blocks) // blocks


def in_parts(pool: Pool, owners: Array) -> ShardedPool:
    """A pool in parts that are all in this process."""
    return sharded(pool, owners, LocalCrew(pool, owners))
