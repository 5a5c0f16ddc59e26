"""The names of the rows that a run has bought."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from asvp.data.source import Source, ids_of

_FEW = 1 << 20
"""Rows of a pool all of whose names are kept: to read a file for some of its rows is to read most of it."""


class Names:
    """Ids of rows in the order of purchase, each looked up once; those of a large pool are never all in memory.

    Parameters
    ----------
    source : Source
        The pool.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._every: pa.Array | None = None
        self._rows: NDArray[np.int64] = np.empty(0, np.int64)
        self._ids = pa.array([], pa.large_string())

    def of(self, rows: NDArray[np.int64]) -> pa.Array:
        """(n,) text: the ids of (n,) rows; quick where they begin with the rows of the call before."""
        if len(self._source) <= _FEW:
            self._every = self._source.ids() if self._every is None else self._every
            return self._every.take(pa.array(rows))
        known = len(self._rows)
        if not np.array_equal(rows[:known], self._rows):
            known = 0
        # Ascending requests read every file once.
        new, place = np.unique(rows[known:], return_inverse=True)
        found = ids_of(self._source, new).take(pa.array(place)).cast(pa.large_string())
        self._ids = pa.concat_arrays([self._ids.slice(0, known), found])
        self._rows = rows.copy()
        return self._ids
