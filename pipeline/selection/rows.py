"""Rows of numbers that may lie anywhere: one protocol, and the few views selection needs of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import numpy as np

from pipeline.errors import SelectionError

BLOCK_ROWS = 2048
"""Rows worked on at once. Blocks are cut at its multiples, so that results do not depend on the shards."""

Array = np.ndarray[Any, np.dtype[Any]]


@runtime_checkable
class FeatureRows(Protocol):
    """N rows of D numbers, readable block by block and by row number."""

    def __len__(self) -> int: ...

    @property
    def dim(self) -> int:
        """Numbers in a row, D."""
        ...

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """(first row, (n, D) read-only view) for consecutive pieces that cover all rows in order."""
        ...

    def gather(self, rows: Array) -> Array:
        """A copy of the rows named, (len(rows), D), in the order given."""
        ...


class ArrayRows:
    """FeatureRows around an (N, D) array in memory.

    Parameters
    ----------
    array : ndarray, shape (N, D)
        float16, float32 or float64; not copied.
    """

    def __init__(self, array: Array) -> None:
        self._array = array

    def __len__(self) -> int:
        return len(self._array)

    @property
    def dim(self) -> int:
        return int(self._array.shape[1])

    def blocks(self) -> Iterator[tuple[int, Array]]:
        for first in range(0, len(self._array), BLOCK_ROWS):
            yield first, self._array[first : first + BLOCK_ROWS]

    def gather(self, rows: Array) -> Array:
        return np.asarray(self._array[rows])


class SubsetRows:
    """Some rows of other FeatureRows under new numbers, gathered block by block when they are read.

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

    def blocks(self) -> Iterator[tuple[int, Array]]:
        for first in range(0, len(self._rows), BLOCK_ROWS):
            yield first, self._base.gather(self._rows[first : first + BLOCK_ROWS])

    def gather(self, rows: Array) -> Array:
        return self._base.gather(self._rows[rows])


class MappedRows:
    """A row-wise function of other FeatureRows, computed when a block is read and never kept.

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

    def blocks(self) -> Iterator[tuple[int, Array]]:
        for first, block in even_blocks(self._base):
            yield first, self._function(block)

    def gather(self, rows: Array) -> Array:
        return self._function(self._base.gather(rows))


def even_blocks(rows: FeatureRows, size: int = BLOCK_ROWS) -> Iterator[tuple[int, Array]]:
    """The rows in pieces that begin at multiples of `size`, whatever pieces they are stored in.

    A matrix product may round differently for another number of rows; pieces of one size make the results, and with
    them the picks, independent of how the rows are sharded. Only pieces across a seam are copied.

    Yields
    ------
    first : int
    block : ndarray, shape (size or, for the last, fewer, D)
    """
    held: list[Array] = []
    count, start = 0, 0
    for _, block in rows.blocks():
        offset = 0
        while offset < len(block):
            piece = block[offset : offset + size - count]
            held.append(piece)
            count += len(piece)
            offset += len(piece)
            if count == size:
                yield start, held[0] if len(held) == 1 else np.concatenate(held)
                held, count, start = [], 0, start + size
    if held:
        yield start, held[0] if len(held) == 1 else np.concatenate(held)


def as_rows(values: Any, key: str) -> FeatureRows:
    """FeatureRows of an (N, D) array of numbers, or of what is FeatureRows already.

    Raises
    ------
    SelectionError
        If it is neither.
    """
    if isinstance(values, FeatureRows):
        return values
    array = np.asarray(values)
    if array.ndim != 2 or array.dtype.kind not in "fiu" or array.shape[1] == 0:
        raise SelectionError(
            "is no matrix of numbers with a row for every row of the pool",
            key=key,
            value=f"{array.dtype} of shape {array.shape}",
            mend="Pass an (N, D) float array or an object with blocks() and gather()",
        )
    return ArrayRows(array if array.dtype.kind == "f" else array.astype(np.float64))
