"""Rows of a table in an SQLite file: `sqlite:FILE?TABLE`."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa

from asvp.config import DataConfig
from asvp.data import check_rows
from asvp.errors import DataError


def open_table(place: str, config: DataConfig) -> SqliteRows:
    """The rows of FILE?TABLE, with the columns that `data.text`, `data.label` and `data.id` name.

    The file is one that every worker can read under the same path.

    Raises
    ------
    DataError
        If there is no such file, table or column, or a row has no text.
    """
    file, _, table = place.partition("?")
    path = Path(file).expanduser().absolute()
    if not path.is_file():
        raise DataError("there is no such file", key="data", value=file, mend="Write sqlite:FILE?TABLE")
    rows = SqliteRows(str(path), table, text=config.text, label=config.label, id=config.id)
    rows.check()
    return rows


class SqliteRows:
    """A source of texts. Only a path and names travel to workers: the file is opened where rows are taken.

    Rows are numbered in the order of SQLite's rowid.
    """

    kind = "text"

    def __init__(self, path: str, table: str, *, text: str, label: str, id: str | None) -> None:
        self.path = path
        self.table = table
        self._text = text
        self._label = label
        self._id = id

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in vars(self).items() if key not in ("_rowids", "_columns", "_digest")}

    def check(self) -> None:
        """Raise a DataError for what would stop a run later."""
        known = [name for (name,) in self._read("SELECT name FROM sqlite_master WHERE type = 'table'")]
        if self.table not in known:
            mend = f"Write sqlite:FILE?TABLE. Tables there: {', '.join(known) or 'none'}"
            raise DataError(f"is no table of {self.path}", key="data", value=self.table, mend=mend)
        if self._text not in self._columns:
            mend = f"Columns there: {', '.join(self._columns)}"
            raise DataError(f"is no column of {self.table}", key="data.text", value=self._text, mend=mend)
        text = _quoted(self._text)
        empty = [rowid for (rowid,) in self._read(f"SELECT rowid FROM {self._from} WHERE typeof({text}) != 'text'")]
        if empty:
            message = f"{len(empty)} rows of {self.table} have no text, the first has rowid {empty[0]}"
            raise DataError(message, key="data.text", value=self._text, mend="Fill these rows or leave them out")

    def __len__(self) -> int:
        return len(self._rowids)

    def take(self, rows: np.ndarray) -> list[str]:
        """Texts of rows by number, in the order asked for."""
        wanted = self._rowids[check_rows(rows, len(self))].tolist()
        # One JSON parameter, since SQLite bounds the number of plain ones.
        query = f"SELECT rowid, {_quoted(self._text)} FROM {self._from} WHERE rowid IN (SELECT value FROM json_each(?))"
        found = dict(self._read(query, json.dumps(wanted)))
        return [found[rowid] for rowid in wanted]

    def ids(self) -> pa.Array:
        """(N,) the id column as text, or row numbers where there is none."""
        if self._id in self._columns:
            return pa.array([str(value) for value in self._column(self._id)], pa.string())
        return pa.array([str(row) for row in range(len(self))], pa.string())

    def labels(self) -> pa.Array | None:
        """(N,) texts or whole numbers, null where missing; None without a label column."""
        if self._label not in self._columns:
            return None
        try:
            return pa.array(self._column(self._label))
        except pa.ArrowException as error:
            mend = "Store labels as texts or as whole numbers"
            raise DataError(f"is a mixture: {error}", key="data.label", value=self._label, mend=mend) from error

    def digest(self) -> str:
        """Fingerprint of the texts in their order, read once."""
        return self._digest

    @cached_property
    def _digest(self) -> str:
        state = hashlib.blake2b(digest_size=16)
        for text in self._column(self._text):
            content = text.encode()
            state.update(len(content).to_bytes(8, "little") + content)
        return state.hexdigest()

    @cached_property
    def _rowids(self) -> np.ndarray:
        return np.array([rowid for (rowid,) in self._read(f"SELECT rowid FROM {self._from} ORDER BY rowid")], np.int64)

    @cached_property
    def _columns(self) -> list[str]:
        return [name for (name,) in self._read("SELECT name FROM pragma_table_info(?)", self.table)]

    @property
    def _from(self) -> str:
        return _quoted(self.table)

    def _column(self, name: str) -> Iterator[Any]:
        return (value for (value,) in self._read(f"SELECT {_quoted(name)} FROM {self._from} ORDER BY rowid"))

    def _read(self, query: str, *parameters: Any) -> Iterator[tuple[Any, ...]]:
        try:
            with closing(sqlite3.connect(f"file:{quote(self.path)}?mode=ro", uri=True)) as connection:
                yield from connection.execute(query, parameters)
        except sqlite3.Error as error:
            raise DataError(f"SQLite says: {error}", key="data", value=self.path) from error


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
