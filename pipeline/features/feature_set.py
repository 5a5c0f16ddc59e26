"""FeatureSet: one version of the features of all rows, as shards that are read as views."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from asvp.features.moments import Moments
from asvp.features.table import features_of
from asvp.spent import NOTHING, Span, Spent


class Shard(Protocol):
    """A handle to one table of features, wherever it lies."""

    def table(self) -> pa.Table:
        """The table {row, feature}; reading it twice costs nothing twice."""
        ...


@runtime_checkable
class FarShard(Shard, Protocol):
    """A shard that may lie where it is cheaper to fetch a few of its rows than the whole."""

    @classmethod
    def taken(cls, wanted: Sequence[tuple[Any, NDArray[np.int64]]]) -> list[NDArray[np.floating] | None]:
        """Fetch rows of several shards of this class at once.

        Parameters
        ----------
        wanted : sequence of (shard, array of shape (n,))
            With places in that shard.

        Returns
        -------
        list of ndarray of shape (n, D), or None
            None for a shard whose table is to be read instead.
        """
        ...


class Features(Protocol):
    """Features of N rows in row order, whatever they are made of: a `FeatureSet`, or two side by side."""

    @property
    def version(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    @property
    def parts(self) -> tuple[FeatureSet, ...]:
        """The feature sets it is made of, the newest last; all are cut into the same shards."""
        ...

    @property
    def dim(self) -> int: ...

    @property
    def nbytes(self) -> int: ...

    @property
    def mean(self) -> NDArray[np.float64]: ...

    @property
    def std(self) -> NDArray[np.float64]: ...

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[tuple[int, NDArray[np.floating]]]: ...

    def span(self, start: int, stop: int) -> NDArray[np.floating]: ...

    def gather(self, rows: NDArray[np.integer] | Sequence[int]) -> NDArray[np.floating]: ...


@dataclass(frozen=True)
class HeldShard:
    """A shard held in this process (or memory-mapped into it)."""

    held: pa.Table

    def table(self) -> pa.Table:
        """The table itself."""
        return self.held


@dataclass(frozen=True)
class FeatureSet:
    """Features of N rows in row order; immutable, and cheap to send: only handles travel.

    Attributes
    ----------
    version : int
        0 for the pre-trained encoder's features; one more for each refresh.
    shards : tuple of Shard
    starts : tuple of int
        First row of each shard, and N at the end.
    dim : int
        D.
    dtype : str
        "float32" or "float16".
    fingerprint : str
        Of the encoder (weights, pre-processing), the rows and `dtype`: equal for equal features.
    moments : Moments
        Of all N rows.
    spent : Spent
        What their extraction cost when it was done.
    saved : Spent
        How much of that was not spent for this set, because a cache or another run had done it.
    spans : tuple of Span
        When workers made or read the shards.
    """

    version: int
    shards: tuple[Shard, ...]
    starts: tuple[int, ...]
    dim: int
    dtype: str
    fingerprint: str
    moments: Moments
    spent: Spent = NOTHING
    saved: Spent = NOTHING
    spans: tuple[Span, ...] = field(default=(), compare=False)

    def __len__(self) -> int:
        return self.starts[-1]

    @property
    def parts(self) -> tuple[FeatureSet, ...]:
        """Itself alone."""
        return (self,)

    @property
    def nbytes(self) -> int:
        """Bytes of all features."""
        return len(self) * self.dim * np.dtype(self.dtype).itemsize

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of each dimension over all rows, shape (D,)."""
        return self.moments.mean

    @property
    def std(self) -> NDArray[np.float64]:
        """Standard deviation of each dimension over all rows, shape (D,)."""
        return self.moments.std

    def costs(self) -> dict[str, Any]:
        """What is told of its making: `spent`, `saved` and `spans`."""
        return {"spent": self.spent, "saved": self.saved, "spans": self.spans}

    def blocks(self) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Yield (first row, features of shape (n, D)) shard by shard; the features are views."""
        for start, shard in zip(self.starts, self.shards, strict=False):
            yield start, features_of(shard.table())

    def span(self, start: int, stop: int) -> NDArray[np.floating]:
        """Features of rows `start` up to `stop`, (stop - start, D): a view within a shard, a copy across a seam."""
        pieces = []
        for home in range(self._home(start), self._home(stop - 1) + 1):
            first = self.starts[home]
            pieces.append(features_of(self.shards[home].table())[max(start - first, 0) : stop - first])
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def gather(self, rows: NDArray[np.integer] | Sequence[int]) -> NDArray[np.floating]:
        """Copy the features of some rows.

        Parameters
        ----------
        rows : array of shape (n,), int
            Row numbers, in any order, repeats allowed.

        Returns
        -------
        ndarray of shape (n, D), dtype as stored
        """
        wanted = np.asarray(rows, dtype=np.int64)
        gathered = np.empty((len(wanted), self.dim), dtype=self.dtype)
        homes = np.searchsorted(self._starts, wanted, side="right") - 1
        order = np.argsort(homes, kind="stable")
        several, first = np.unique(homes[order], return_index=True)
        positions = np.split(order, first[1:])[: len(several)]
        inside = [wanted[where] - self._starts[home] for home, where in zip(several, positions, strict=True)]
        for where, features in zip(positions, _rows_of([self.shards[home] for home in several], inside), strict=True):
            gathered[where] = features
        return gathered

    def _home(self, row: int) -> int:
        """The shard that holds a row."""
        return int(np.searchsorted(self._starts, row, side="right")) - 1

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.asarray(self.starts[:-1], dtype=np.int64)


def _rows_of(shards: Sequence[Shard], inside: Sequence[NDArray[np.int64]]) -> Iterator[NDArray[np.floating]]:
    """Some rows of each shard; those of shards that lie far away are fetched together."""
    # All shards of a set that may lie far away are of one class.
    far = {place: shard for place, shard in enumerate(shards) if isinstance(shard, FarShard)}
    taken: dict[int, NDArray[np.floating] | None] = {}
    if far:
        fetched = next(iter(far.values())).taken([(shard, inside[place]) for place, shard in far.items()])
        taken = dict(zip(far, fetched, strict=True))
    for place, (near, rows) in enumerate(zip(shards, inside, strict=True)):
        found = taken.pop(place, None)
        yield features_of(near.table())[rows] if found is None else found


def shard_starts(rows: int, shard_rows: int) -> tuple[int, ...]:
    """First row of each shard, and `rows` at the end.

    A small pool is cut into about sixteen shards so that several actors have work; the cut depends on the number
    of rows alone, never on the actors, because the batches inside a shard decide the last bits of a feature.
    """
    step = min(shard_rows, max(_SMALLEST_SHARD, -(-rows // _FEWEST_SHARDS)))
    return (*range(0, rows, step), rows)


_FEWEST_SHARDS = 16
_SMALLEST_SHARD = 128
