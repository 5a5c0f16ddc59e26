"""Rows of numbers that may lie anywhere: one protocol, and the few views selection needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from asvp.arrays import plain_array
from asvp.errors import SelectionError

BLOCK_ROWS = 2048
"""Rows worked on at once. Blocks are cut at its multiples, so that results do not depend on the shards."""

Array = np.ndarray[Any, np.dtype[Any]]


@runtime_checkable
class FeatureRows(Protocol):
    """N rows of D numbers, readable in spans and by row number."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int:
        """Numbers in a row, D."""
        ...

    def span(self, start: int, stop: int) -> Array:
        """Rows `start` up to `stop`, (stop - start, D); a view where it can be one, so not to be written to."""
        ...

    def gather(self, rows: Array) -> Array:
        """A copy of the rows named, (len(rows), D), in the order given."""
        ...


class ArrayRows:
    """FeatureRows around an (N, D) array in memory.

    Parameters
    ----------
    array : ndarray, shape (N, D)
        Whole numbers or floats; not copied.
    """

    def __init__(self, array: Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @property
    def dim(self) -> int:
        return int(self._array.shape[1])

    def span(self, start: int, stop: int) -> Array:
        return self._array[start:stop]

    def gather(self, rows: Array) -> Array:
        return np.asarray(self._array[rows])


class SubsetRows:
    """Some rows of other FeatureRows under new numbers, gathered when they are read.

    Parameters
    ----------
    base : FeatureRows
    rows : ndarray of int64, shape (n,)
        Row i here is row `rows[i]` of the base.
    """

    def __init__(self, base: FeatureRows, rows: Array) -> None:
        self._base = base
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def dim(self) -> int:
        return self._base.dim

    def span(self, start: int, stop: int) -> Array:
        return self._base.gather(self._rows[start:stop])

    def gather(self, rows: Array) -> Array:
        return self._base.gather(self._rows[rows])


class BlockRows:
    """Some blocks of other FeatureRows under new numbers.

    Parameters
    ----------
    base : FeatureRows
    blocks : ndarray of int64
        Block i here is block `blocks[i]` of the base, of `BLOCK_ROWS` rows. Only the last block may be shorter.
    """

    def __init__(self, base: FeatureRows, blocks: Array) -> None:
        self._base = base
        self._starts = blocks * BLOCK_ROWS

    def __len__(self) -> int:
        return int(np.minimum(BLOCK_ROWS, len(self._base) - self._starts).sum())

    @property
    def dim(self) -> int:
        return self._base.dim

    def span(self, start: int, stop: int) -> Array:
        block = start // BLOCK_ROWS
        if stop > (block + 1) * BLOCK_ROWS:
            return self.gather(np.arange(start, stop))
        moved = int(self._starts[block]) - block * BLOCK_ROWS
        return self._base.span(start + moved, stop + moved)

    def gather(self, rows: Array) -> Array:
        return self._base.gather(self._starts[rows // BLOCK_ROWS] + rows % BLOCK_ROWS)


class MappedRows:
    """A row-wise function of other FeatureRows, computed when rows are read and never kept.

    Probabilities of a pool, or the hidden features of its proxy, without an array of all rows.

    Parameters
    ----------
    base : FeatureRows
    function : callable
        Takes (n, D) and returns (n, dim).
    dim : int
        Numbers in a row of the result.
    """

    def __init__(self, base: FeatureRows, function: Callable[[Array], Array], dim: int) -> None:
        self._base = base
        self._function = function
        self._dim = dim

    def __len__(self) -> int:
        return len(self._base)

    @property
    def dim(self) -> int:
        return self._dim

    def span(self, start: int, stop: int) -> Array:
        return self._function(self._base.span(start, stop))

    def gather(self, rows: Array) -> Array:
        return self._function(self._base.gather(rows))


def even_blocks(rows: FeatureRows) -> Iterator[tuple[int, Array]]:
    """The rows in pieces that begin at multiples of `BLOCK_ROWS`, whatever pieces they are stored in.

    A matrix product may round differently for another number of rows; pieces of one size make the results, and with
    them the picks, independent of how the rows are sharded.

    Yields
    ------
    first : int
    block : ndarray, shape (BLOCK_ROWS or, for the last, fewer, D)
    """
    for first in range(0, len(rows), BLOCK_ROWS):
        yield first, rows.span(first, min(first + BLOCK_ROWS, len(rows)))


def as_rows(values: Any, key: str) -> FeatureRows:
    """FeatureRows of an (N, D) array of numbers, or of what is FeatureRows already.

    Raises
    ------
    SelectionError
        If it is neither, or values are masked.
    """
    if isinstance(values, FeatureRows) and not isinstance(values, type):
        return values
    array = plain_array(values, key, SelectionError)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] == 0:
        raise SelectionError(
            "is no matrix of numbers with a row for every row of the pool",
            key=key,
            value=f"{array.dtype} of shape {array.shape}",
            mend="Pass an (N, D) float array or an object with span() and gather()",
        )
    return ArrayRows(array)


def plain_block(block: Any, key: str, shape: tuple[int, int]) -> Array:
    """Rows as they were read, in a form that every strategy can work on: float16, float32 or float64 of this machine.

    Whole numbers and wider floats become float64; a step backwards through memory becomes a copy.

    Raises
    ------
    SelectionError
        If they are no matrix of numbers of this shape.
    """
    array = plain_array(block, key, SelectionError)
    if array.shape != shape or array.dtype.kind not in "fiu":
        raise SelectionError(
            f"gives other rows than the {shape[0]} of {shape[1]} numbers that were asked for",
            key=key,
            value=f"{array.dtype} of shape {array.shape}",
        )
    return plain_numbers(array, key)


def plain_numbers(array: Array, key: str) -> Array:
    """The numbers of an array as float16, float32 or float64 of this machine, without a step backwards in memory.

    Raises
    ------
    SelectionError
        If it holds something else than real numbers.
    """
    if array.dtype.kind not in "fiu":
        raise SelectionError("holds no real numbers", key=key, value=str(array.dtype))
    fits = array.dtype.kind == "f" and array.dtype.itemsize <= 8
    kind = array.dtype.newbyteorder("=") if fits else np.dtype(np.float64)
    if array.dtype != kind:
        # What is beyond float64 becomes infinite, which is refused.
        with np.errstate(over="ignore"):
            array = array.astype(kind)
    return array if min(array.strides, default=0) >= 0 else np.ascontiguousarray(array)
