"""Rows of Parquet and Arrow files: a column with the content, and perhaps columns with names and labels."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import pyarrow as pa

from asvp.data.digests import Digests, combine
from asvp.data.labels import check_label_type, is_text, join, normalise
from asvp.data.source import Kind, Rows, check_rows
from asvp.data.tables import Tables
from asvp.errors import DataError


class Column(Protocol):
    """How the content of a row is read from its column; one class for each kind of content."""

    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> Kind: ...

    def check(self, tables: Tables, digests: Digests) -> None:
        """Raise a DataError for anything wrong that can be seen before work starts."""
        ...

    def take(self, tables: Tables, rows: np.ndarray) -> Rows:
        """The content of rows, in the order asked for."""
        ...

    def digests(self, tables: Tables, digests: Digests) -> list[str]:
        """Fingerprints of content that lies outside the table files."""
        ...


class TableSource:
    """A `Source` of N rows in table files.

    Parameters
    ----------
    tables : Tables
    column : Column
        The content.
    label, id : str or None
        The columns with labels and names; None where there are none.
    digests : Digests

    Raises
    ------
    DataError
        If a column is missing, has an unusable type or has rows without a value.
    """

    def __init__(self, tables: Tables, column: Column, *, label: str | None, id: str | None, digests: Digests) -> None:
        self.tables = tables
        self.column = column
        self._label = label
        self._id = id
        self._digests = digests
        self._digest: str | None = None
        column.check(tables, digests)
        if id is not None:
            _check_ids(tables, id)
        if label is not None:
            _check_labels(tables, label)

    @property
    def kind(self) -> Kind:
        return self.column.kind

    def __len__(self) -> int:
        return len(self.tables)

    def take(self, rows: np.ndarray) -> Rows:
        """The content of rows; see `Source.take`."""
        return self.column.take(self.tables, check_rows(rows, len(self)))

    def ids(self) -> pa.Array:
        """(N,) text: the id column, or row numbers."""
        if self._id is None:
            return pa.array(np.arange(len(self))).cast(pa.large_string())
        return join([block.cast(pa.large_string()) for block in self.tables.scan(self._id)])

    def labels(self) -> pa.Array | None:
        """(N,) text, int64 or booleans with nulls; None without a label column."""
        if self._label is None:
            return None
        return join([normalise(block) for block in self.tables.scan(self._label)])

    def digest(self) -> str:
        """Fingerprint of the files, of the column used, and of what it refers to."""
        if self._digest is None:
            files = self._digests.files(self.tables.storage, [file.stored for file in self.tables.files])
            outside = self.column.digests(self.tables, self._digests)
            self._digest = combine([self.kind, self.column.name, *files, *outside])
        return self._digest


class TextColumn:
    """A column of text."""

    kind: Kind = "text"
    key = "data.text"

    def __init__(self, name: str) -> None:
        self.name = name

    def check(self, tables: Tables, digests: Digests) -> None:
        """Raise a DataError unless every file has the column, as text, without gaps."""
        for type, where in tables.types(self.name, self.key):
            if not is_text(type):
                mend = "Name a column with text, or use data.image or data.features"
                raise DataError(f"has type {type} in {where}, not text", key=self.key, value=self.name, mend=mend)
        check_filled(tables, self.name, self.key)

    def take(self, tables: Tables, rows: np.ndarray) -> list[str]:
        """n str."""
        texts = [""] * len(rows)
        for positions, values in tables.gather(self.name, rows):
            for position, text in zip(positions.tolist(), values.to_pylist(), strict=True):
                if text is None:
                    raise row_error(tables, self.key, self.name, int(rows[position]), "there is no text")
                texts[position] = text
        return texts

    def digests(self, tables: Tables, digests: Digests) -> list[str]:
        """Nothing lies outside the table."""
        return []


def check_filled(tables: Tables, column: str, key: str) -> None:
    """Raise a DataError where a file admits rows without a value."""
    missing = tables.nulls(column)
    if missing is not None:
        message = f"{missing[0]} rows of {missing[1]} have no value"
        raise DataError(message, key=key, value=column, mend="Fill these rows or leave them out")


def row_error(tables: Tables, key: str, column: str, row: int, message: str) -> DataError:
    """A DataError about the content of one row."""
    mend = "Mend the row or leave it out"
    return DataError(f"row {row} of {tables.value}: {message}", key=key, value=column, mend=mend)


def _check_ids(tables: Tables, column: str) -> None:
    for type, where in tables.types(column, "data.id"):
        if not (is_text(type) or pa.types.is_integer(type)):
            mend = "Name a column with text or whole numbers, or set data.id to null"
            message = f"has type {type} in {where}, which names no rows"
            raise DataError(message, key="data.id", value=column, mend=mend)
    check_filled(tables, column, "data.id")


def _check_labels(tables: Tables, column: str) -> None:
    first: tuple[str, str] | None = None
    for type, where in tables.types(column, "data.label"):
        found = check_label_type(type, key="data.label", column=column, where=where)
        if first is not None and found is not None and found != first[0]:
            message = f"labels are {first[0]} in {first[1]} but {found} in {where}"
            raise DataError(message, key="data.label", value=column, mend="Store both with the same type")
        first = first or (None if found is None else (found, where))
