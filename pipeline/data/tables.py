"""Columns of Parquet and Arrow files, read by row number, one row group or record batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from asvp.data.cursor import Cursor
from asvp.data.storage import READ_ERRORS, Storage, StoredFile, first_line, nearest
from asvp.errors import DataError

SUFFIXES = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
Format = Literal["parquet", "arrow", "stream"]

_BLOCK_BYTES = 64 << 20
"""A column of a row group larger than this is decoded in several blocks."""


@dataclass(frozen=True)
class TableFile:
    """A file with its format, its columns and the rows of each row group or record batch."""

    stored: StoredFile
    format: Format
    schema: pa.Schema
    groups: tuple[int, ...]
    nulls: dict[str, int]
    """Rows without a value by column, or `column.field` of a struct, as far as the file says without being read."""


class Tables:
    """The rows of one or many table files of one schema, in the order of the files.

    Picklable: what travels is the list of files and row groups; each process opens them itself.

    Parameters
    ----------
    storage : Storage
    stored : list of StoredFile
    key, value : str
        The config key and what the user wrote there, for messages.

    Raises
    ------
    DataError
        If a file is no Parquet or Arrow file, or is truncated, or there is no row.
    """

    def __init__(self, storage: Storage, stored: list[StoredFile], *, key: str, value: str) -> None:
        self.storage = storage
        self.key = key
        self.value = value
        with ThreadPoolExecutor(8) as readers:
            surveyed = list(readers.map(self._survey, stored))
        # Thousands of files mostly share one schema; as one object it travels to the workers once.
        schemas: dict[pa.Schema, pa.Schema] = {}
        self.files = tuple(
            replace(file, schema=schemas.setdefault(file.schema.remove_metadata(), file.schema.remove_metadata()))
            for file in surveyed
        )
        groups = [(number, group) for number, file in enumerate(self.files) for group in range(len(file.groups))]
        self._pieces = np.array(groups, dtype=np.int32).reshape(-1, 2)
        lengths = [rows for file in self.files for rows in file.groups]
        self._offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        if len(self) == 0:
            raise DataError("holds no rows", key=key, value=value, mend="Give a file or folder with rows")
        self._cursors: dict[str, Cursor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cursors": {}}

    def __len__(self) -> int:
        return int(self._offsets[-1])

    @property
    def schema(self) -> pa.Schema:
        """Columns and types of the first file."""
        return self.files[0].schema

    def types(self, column: str, key: str) -> list[tuple[pa.DataType, str]]:
        """The type of a column's values in each file, and the file as messages name it.

        Raises
        ------
        DataError
            If a file has no such column; the message names the most similar one.
        """
        found = []
        for file in self.files:
            where = self.storage.shown(file.stored.path)
            names = file.schema.names
            if names.count(column) != 1:
                problem = "is no column of" if column not in names else "is more than one column of"
                mend = f"{nearest(column, names)}Columns there: {', '.join(names)}"
                raise DataError(f"{problem} {where}", key=key, value=column, mend=mend)
            type = file.schema.field(column).type
            found.append((type.value_type if pa.types.is_dictionary(type) else type, where))
        return found

    def nulls(self, column: str) -> tuple[int, str] | None:
        """How many rows of a file have no value, and in which file first; None where no file admits any."""
        for file in self.files:
            if file.nulls.get(column):
                return file.nulls[column], self.storage.shown(file.stored.path)
        return None

    def scan(self, name: str, file: int | None = None) -> Iterator[pa.Array]:
        """The blocks of a column in row order, of one file or all, one in memory at a time."""
        for piece, (number, _) in enumerate(self._pieces.tolist()):
            if file is None or number == file:
                yield from self._blocks(name, piece)

    def gather(self, name: str, rows: np.ndarray) -> Iterator[tuple[np.ndarray, pa.Array]]:
        """Values of a column at row numbers: pairs of positions in `rows` and their values."""
        cursor = self._cursors.get(name)
        if cursor is None:
            cursor = self._cursors[name] = Cursor(self._offsets, partial(self._blocks, name))
        for positions, block, inside in cursor.gather(rows):
            yield positions, block.take(pa.array(inside))

    def folders(self, rows: np.ndarray) -> list[str]:
        """The folder, below the storage's base, of the file that each row lies in."""
        parents = [file.stored.path.rpartition("/")[0] for file in self.files]
        pieces = np.searchsorted(self._offsets, rows, side="right") - 1
        return [parents[number] for number in self._pieces[pieces, 0].tolist()]

    def _blocks(self, column: str, piece: int) -> Iterator[Any]:
        number, group = (int(part) for part in self._pieces[piece])
        file = self.files[number]
        try:
            for block in _READERS[file.format](self.storage, file, group, column):
                yield block.dictionary_decode() if isinstance(block, pa.DictionaryArray) else block
        except READ_ERRORS as error:
            raise self._unreadable(file.stored, error) from None

    def _survey(self, stored: StoredFile) -> TableFile:
        try:
            with self.storage.open(stored.path) as opened:
                magic = bytes(opened.read(6)) if stored.size >= 6 else b""
                if magic[:4] == b"PAR1" or stored.path.endswith((".parquet", ".pq")):
                    return _survey_parquet(opened, stored)
                return _survey_arrow(opened, stored, "arrow" if magic == b"ARROW1" else "stream")
        except READ_ERRORS as error:
            raise self._unreadable(stored, error) from None

    def _unreadable(self, stored: StoredFile, error: BaseException) -> DataError:
        return DataError(
            f"{self.storage.shown(stored.path)} is no whole Parquet or Arrow file: {first_line(error)}",
            key=self.key,
            value=self.value,
            mend="Write the file again, or take it out of the folder",
        )


def _survey_parquet(opened: Any, stored: StoredFile) -> TableFile:
    opened.seek(0)
    footer = pq.ParquetFile(opened)
    metadata = footer.metadata
    nulls: dict[str, int] = {}
    unknown: set[str] = set()
    for group in range(metadata.num_row_groups):
        row_group = metadata.row_group(group)
        for number in range(metadata.num_columns):
            chunk = row_group.column(number)
            if chunk.statistics is None or not chunk.statistics.has_null_count:
                unknown.add(chunk.path_in_schema)
                continue
            nulls[chunk.path_in_schema] = nulls.get(chunk.path_in_schema, 0) + chunk.statistics.null_count
    groups = tuple(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))
    known = {name: count for name, count in nulls.items() if name not in unknown}
    return TableFile(stored, "parquet", footer.schema_arrow, groups, known)


def _survey_arrow(opened: Any, stored: StoredFile, format: Format) -> TableFile:
    opened.seek(0)
    reader = pa.ipc.open_file(opened) if format == "arrow" else pa.ipc.open_stream(opened)
    batches = _file_batches(reader) if format == "arrow" else iter(reader)
    nulls: dict[str, int] = {}
    groups = []
    for batch in batches:
        groups.append(batch.num_rows)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            nulls[name] = nulls.get(name, 0) + column.null_count
            for number, field in enumerate(column.type if pa.types.is_struct(column.type) else ()):
                path = f"{name}.{field.name}"
                nulls[path] = nulls.get(path, 0) + column.field(number).null_count
    return TableFile(stored, format, reader.schema, tuple(groups), nulls)


def _file_batches(reader: Any) -> Iterator[Any]:
    return (reader.get_batch(number) for number in range(reader.num_record_batches))


def _parquet_blocks(storage: Storage, file: TableFile, group: int, column: str) -> Iterator[Any]:
    with storage.open(file.stored.path) as opened:
        reader = pq.ParquetFile(opened, pre_buffer=not storage.local)
        chunks = [reader.metadata.row_group(group).column(number) for number in range(reader.metadata.num_columns)]
        size = sum(
            chunk.total_uncompressed_size
            for chunk in chunks
            if chunk.path_in_schema == column or chunk.path_in_schema.startswith(f"{column}.")
        )
        rows = file.groups[group]
        batch_rows = max(1, rows * _BLOCK_BYTES // max(size, _BLOCK_BYTES))
        for batch in reader.iter_batches(batch_size=batch_rows, row_groups=[group], columns=[column]):
            yield batch.column(column)


def _arrow_blocks(storage: Storage, file: TableFile, group: int, column: str) -> Iterator[Any]:
    fields = pa.ipc.IpcReadOptions(included_fields=[file.schema.get_field_index(column)])
    with storage.open(file.stored.path) as opened:
        yield pa.ipc.open_file(opened, options=fields).get_batch(group).column(column)


def _stream_blocks(storage: Storage, file: TableFile, group: int, column: str) -> Iterator[Any]:
    with storage.open(file.stored.path) as opened:
        for number, batch in enumerate(pa.ipc.open_stream(opened)):
            if number == group:
                yield batch.column(column)
                return


_READERS = {"parquet": _parquet_blocks, "arrow": _arrow_blocks, "stream": _stream_blocks}
