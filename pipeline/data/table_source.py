"""Rows of table files: a column with the content, and perhaps columns with names and labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asvp.data.digests import Digests, combine
from asvp.data.labels import check_label_type, is_text, join, normalise
from asvp.data.source import Kind, Rows, check_rows
from asvp.data.tables import Tables
from asvp.errors import DataError, RowError


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

    def name_of(self, tables: Tables, row: int) -> str | None:
        """What the content itself says it is called, such as the path of an image; None where it says nothing."""
        ...


class LimitedColumn(Column, Protocol):
    """One whose rows may have so many bytes, and no more."""

    @property
    def key(self) -> str: ...

    @property
    def max_bytes(self) -> int: ...


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
    label_names : sequence of str, optional
        What the whole numbers of the label column stand for, from 0; -1 is a missing label.

    Raises
    ------
    DataError
        If a column is missing, has an unusable type or has rows without a value.
    """

    def __init__(
        self,
        tables: Tables,
        column: Column,
        *,
        label: str | None,
        id: str | None,
        digests: Digests,
        label_names: Sequence[str] | None = None,
    ) -> None:
        self.tables = tables
        self._label_names = label_names
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

    @property
    def guessed(self) -> bool:
        """Whether labels are text only because their files know no types."""
        return self.tables.untyped

    def place(self, row: int) -> str:
        """The file that a row lies in, its number there, its id, and what its content is called."""
        told = [self.tables.place(row)]
        if self._id is not None:
            told += [f"id {value[0].as_py()!r}" for _, value in self.tables.gather(self._id, np.array([row]))]
        name = self.column.name_of(self.tables, row)
        return ", ".join([*told, *([] if name is None else [name])])

    def take(self, rows: np.ndarray) -> Rows:
        """The content of rows; see `Source.take`."""
        return self.column.take(self.tables, check_rows(rows, len(self)))

    def ids(self) -> pa.Array:
        """(N,) text: the id column, or row numbers."""
        if self._id is None:
            return pa.array(np.arange(len(self))).cast(pa.large_string())
        return join([block.cast(pa.large_string()) for block in self.tables.scan(self._id)])

    def pieces(self) -> np.ndarray:
        """(P + 1,) int64: first row of each row group or record batch, and the number of rows."""
        return self.tables.offsets

    def ids_of(self, rows: np.ndarray) -> pa.Array:
        """(n,) text: the names of some rows; the column is read one block at a time."""
        rows = check_rows(rows, len(self))
        if self._id is None:
            return pa.array(rows).cast(pa.large_string())
        places, blocks = [np.empty(0, np.int64)], [pa.array([], pa.large_string())]
        for positions, values in self.tables.gather(self._id, rows):
            places.append(positions)
            blocks.append(values.cast(pa.large_string()))
        return pa.concat_arrays(blocks).take(pa.array(np.argsort(np.concatenate(places))))

    def labels(self) -> pa.Array | None:
        """(N,) text, int64 or booleans with nulls; None without a label column."""
        if self._label is None:
            return None
        labels = join([normalise(block, self._label) for block in self.tables.scan(self._label)])
        return labels if self._label_names is None else self._named(labels)

    def _named(self, labels: pa.Array) -> pa.Array:
        """Names in the place of whole numbers."""
        if not pa.types.is_integer(labels.type):
            return labels
        numbers = pc.if_else(pc.equal(labels, -1), None, labels)
        names = pa.array(list(self._label_names or ()), pa.large_string())
        outside = pc.or_(pc.less(numbers, 0), pc.greater_equal(numbers, len(names))).fill_null(False)
        if pc.any(outside).as_py():
            row = pc.index(outside, True).as_py()
            message = f"{labels[row].as_py()} is none of the {len(names)} classes that the data set names"
            raise row_error(self.tables, "data.label", str(self._label), row, message)
        return names.take(numbers)

    def digest(self) -> str:
        """Fingerprint of the files, of the column used, and of what it refers to."""
        if self._digest is None:
            files = self._digests.files(self.tables.storage, [file.stored for file in self.tables.files])
            outside = self.column.digests(self.tables, self._digests)
            named = self.tables.partitions(self.column.name)
            self._digest = combine([self.kind, self.column.name, *files, *outside, *named])
        return self._digest


class TextColumn:
    """A column of text, of which no row may have more than so many bytes."""

    kind: Kind = "text"
    key = "data.text"

    def __init__(self, name: str, max_bytes: int) -> None:
        self.name = name
        self.max_bytes = max_bytes

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
            check_sizes(tables, self, "data.max_text_bytes", values, rows[positions])
            for position, text in zip(positions.tolist(), values.to_pylist(), strict=True):
                if text is None:
                    raise row_error(tables, self.key, self.name, int(rows[position]), "there is no text")
                texts[position] = text
        return texts

    def digests(self, tables: Tables, digests: Digests) -> list[str]:
        """Nothing lies outside the table."""
        return []

    def name_of(self, tables: Tables, row: int) -> str | None:
        """A text has no name of its own."""
        return None


def check_filled(tables: Tables, column: str, key: str) -> None:
    """Raise a DataError where a file admits rows without a value."""
    missing = tables.nulls(column)
    if missing is not None:
        message = f"{missing[0]} rows of {missing[1]} have no value"
        raise DataError(message, key=key, value=column, mend="Fill these rows or leave them out")


def check_sizes(tables: Tables, column: LimitedColumn, limit: str, values: pa.Array, rows: np.ndarray) -> None:
    """Raise a RowError for a text or an image with more bytes than the configuration allows.

    Parameters
    ----------
    limit : str
        The key of the configuration that says how many.
    values : pa.Array
        (n,) text or binary.
    rows : (n,) int64
        Their row numbers.
    """
    views = {pa.string_view(): pa.large_string(), pa.binary_view(): pa.large_binary()}
    sizes = pc.binary_length(values.cast(views.get(values.type, values.type)))
    if not len(sizes) or (pc.max(sizes).as_py() or 0) <= column.max_bytes:
        return
    found = pc.index(pc.greater(sizes, column.max_bytes), True).as_py()
    message = f"it has {sizes[found].as_py():,} bytes, which is more than {limit}, {column.max_bytes:,}"
    raise row_error(tables, column.key, column.name, int(rows[found]), message, f", or raise {limit}")


def row_error(tables: Tables, key: str, column: str, row: int, message: str, besides: str = "") -> RowError:
    """A RowError about the content of one row; `besides` ends the mend."""
    mend = f"Mend the row, leave it out{besides}" if besides else "Mend the row or leave it out"
    return RowError(message, row=row, place=tables.place(row), key=key, value=column, mend=mend)


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
