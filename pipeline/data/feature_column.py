"""Ready-made features in a column of lists."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asvp.data.digests import Digests
from asvp.data.source import Kind
from asvp.data.table_source import check_filled, row_error
from asvp.data.tables import Tables
from asvp.errors import DataError

KEY = "data.features"


class FeatureColumn:
    """A column of lists of numbers, all of one length."""

    kind: Kind = "features"

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, tables: Tables, digests: Digests) -> None:
        """Raise a DataError for a wrong type, empty rows, ragged lists, or values that are not finite.

        The values themselves are read for this, once for each state of a file.
        """
        for type, where in tables.types(self.name, KEY):
            if not _is_list(type) or not _is_number(type.value_type):
                mend = "Store lists of numbers, all of one length"
                raise DataError(f"has type {type} in {where}, not features", key=KEY, value=self.name, mend=mend)
        check_filled(tables, self.name, KEY)
        known: tuple[str, str] | None = None
        for number, file in enumerate(tables.files):
            if not sum(file.groups):
                continue
            look = partial(self._width, tables, number)
            width = digests.remembered(tables.storage, [file.stored], f"width of {self.name}", look)
            where = tables.storage.shown(file.stored.path)
            if known is not None and width != known[0]:
                raise _ragged(self.name, int(known[0]), known[1], int(width), where)
            known = (width, where)

    def take(self, tables: Tables, rows: np.ndarray) -> np.ndarray:
        """(n, D) float32, or float16 where it is stored so."""
        parts = []
        for positions, values in tables.gather(self.name, rows):
            matrix = _matrix(values, self.name, tables, rows[positions])
            parts.append((positions, as_stored(matrix, rows[positions], self.name, tables.value)))
        if not parts:
            return np.empty((0, self.take(tables, np.zeros(1, dtype=np.int64)).shape[1]), dtype=np.float32)
        features = np.empty((len(rows), parts[0][1].shape[1]), dtype=np.result_type(*(part.dtype for _, part in parts)))
        for positions, part in parts:
            features[positions] = part
        return features

    def digests(self, tables: Tables, digests: Digests) -> list[str]:
        """Nothing lies outside the table."""
        return []

    def name_of(self, tables: Tables, row: int) -> str | None:
        """A vector has no name of its own."""
        return None

    def _width(self, tables: Tables, number: int) -> str:
        """The width of a file's features, all of them having been looked at."""
        where = tables.storage.shown(tables.files[number].stored.path)
        before = sum(sum(file.groups) for file in tables.files[:number])
        width = first = 0
        for block in tables.scan(self.name, number):
            if not len(block):
                continue
            matrix = _matrix(block, self.name, tables, before + np.arange(first, first + len(block)))
            features = as_stored(matrix, np.arange(first, first + len(block)), self.name, where)
            if width and features.shape[1] != width:
                raise _ragged(self.name, width, where, features.shape[1], where)
            width, first = features.shape[1], first + len(block)
        return str(width)


def as_stored(values: np.ndarray, rows: np.ndarray, column: str, where: str) -> np.ndarray:
    """Features (n, D) in the type they are stored in; `rows` are their row numbers.

    Raises
    ------
    DataError
        If some are NaN, infinite, or beyond what that type holds.
    """
    with np.errstate(over="ignore"):
        features = values.astype(stored_dtype(values.dtype), copy=False)
    lost = ~np.isfinite(features).all(axis=1)
    if not lost.any():
        return features
    never = lost & ~np.isfinite(values).all(axis=1)
    bad = rows[never if never.any() else lost]
    most = np.finfo(features.dtype)
    what = "NaN or infinite numbers" if never.any() else f"numbers beyond {most.dtype} ({most.max:.2g} at most)"
    message = f"{len(bad)} rows of {where} hold {what}, the first is row {bad.min()}"
    mend = "Leave these rows out or make their features again"
    raise DataError(message, key=KEY, value=column, mend=mend)


def stored_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float16 where features are stored so, else float32."""
    return np.dtype(np.float16) if dtype == np.float16 else np.dtype(np.float32)


def _matrix(values: pa.Array, column: str, tables: Tables, rows: np.ndarray) -> np.ndarray:
    """Lists as an (n, D) matrix; a DataError where one is missing or they are ragged. `rows` are their numbers."""
    if values.null_count:
        missing = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False))
        message = f"there are no features, as in {len(missing)} rows here"
        raise row_error(tables, KEY, column, int(rows[missing[0]]), message)
    lengths = pc.list_value_length(values).to_numpy(zero_copy_only=False)
    width = int(lengths[0])
    odd = np.flatnonzero(lengths != width)
    if len(odd):
        raise _ragged(column, width, tables.place(int(rows[0])), int(lengths[odd[0]]), tables.place(int(rows[odd[0]])))
    if not width:
        message = f"lists are empty, the first is that of {tables.place(int(rows[0]))}"
        raise DataError(message, key=KEY, value=column, mend="Store at least one number a row")
    flat = values.flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(len(values), width)


def _ragged(column: str, width: int, where: str, other: int, other_where: str) -> DataError:
    message = f"features have {width} numbers in {where} but {other} in {other_where}"
    return DataError(message, key=KEY, value=column, mend="All rows need as many numbers")


def _is_list(type: pa.DataType) -> bool:
    return bool(pa.types.is_list(type) or pa.types.is_large_list(type) or pa.types.is_fixed_size_list(type))


def _is_number(type: pa.DataType) -> bool:
    return bool(pa.types.is_floating(type) or pa.types.is_integer(type))
