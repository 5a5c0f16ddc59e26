"""Columns of table files, read by row number, one row group, record batch or block of lines at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from asvp.data.cursor import Cursor
from asvp.data.open_files import OpenFiles
from asvp.data.plain_arrays import first_not_utf8, plain, plain_type, unpacked
from asvp.data.storage import Storage, StoredFile, nearest, outside
from asvp.data.text_files import TextFileError, survey_text, text_blocks, text_format
from asvp.errors import DataError, RowError, first_line

SUFFIXES = (".parquet", ".pq", ".arrow", ".feather", ".ipc")
Format = Literal["parquet", "arrow", "stream", "csv", "tsv", "jsonl"]

_BLOCK_BYTES = 64 << 20
"""A column of a row group larger than this is decoded in several blocks."""
_PIECES_AHEAD = 4
"""Most row groups of one request that are read from a store at a time, as each takes round trips."""
_BYTES_AHEAD = 256 << 20
"""What those may have together in their files, taken to be alike."""
_OPEN_FILES = 8
"""Parquet files of a store that are left open: opening one takes two round trips."""
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_WHOLE_NUMBER = re.compile(r"0|-?[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class TableFile:
    """A file with its format, its columns and the rows of each row group or record batch."""

    stored: StoredFile
    format: Format
    schema: pa.Schema
    groups: tuple[int, ...]
    nulls: dict[str, int]
    """Rows without a value by column, or `column.field` of a struct, as far as the file says without being read."""
    partition: dict[str, str | None]
    """Columns that the names of its folders give, `NAME=VALUE` as Hive and Spark write them."""


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
        If a file is no table, or is truncated, or there is no row.
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
        self._partition_types = _partition_types(self.files)
        groups = [(number, group) for number, file in enumerate(self.files) for group in range(len(file.groups))]
        self._pieces = np.array(groups, dtype=np.int32).reshape(-1, 2)
        lengths = [rows for file in self.files for rows in file.groups]
        self._offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        if len(self) == 0:
            raise DataError("holds no rows", key=key, value=value, mend="Give a file or folder with rows")
        self._cursors: dict[str, Cursor] = {}
        self._opened = OpenFiles(storage, _OPEN_FILES)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cursors": {}}

    def __len__(self) -> int:
        return int(self._offsets[-1])

    @property
    def offsets(self) -> np.ndarray:
        """(P + 1,) int64: first row of each row group, record batch or text file, and the number of rows."""
        return self._offsets

    @property
    def names(self) -> list[str]:
        """Columns of the first file, those in the names of its folders included."""
        return _names(self.files[0])

    @property
    def untyped(self) -> bool:
        """Whether values are text because their files know no types."""
        return any(file.format in ("csv", "tsv") for file in self.files)

    def having(self, column: str) -> list[bool]:
        """Which files have a column."""
        return [column in _names(file) for file in self.files]

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
            names = _names(file)
            if names.count(column) != 1:
                raise _not_one_column(file, column, names, where, key)
            if column in file.schema.names:
                found.append((plain_type(file.schema.field(column).type), where))
            else:
                found.append((self._partition_types[column], where))
        return found

    def nulls(self, column: str) -> tuple[int, str] | None:
        """How many rows of a file have no value, and in which file first; None where no file admits any."""
        for file in self.files:
            if column not in file.schema.names and file.partition.get(column, "") is None:
                return sum(file.groups), self.storage.shown(file.stored.path)
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
            made = Cursor(self._offsets, partial(self._blocks, name), self._pieces_ahead())
            # Of threads that come first together all have the same.
            cursor = self._cursors.setdefault(name, made)
        for positions, block, inside in cursor.gather(rows):
            yield positions, block.take(pa.array(inside))

    def _pieces_ahead(self) -> int:
        """Row groups that are read side by side; none of files on a disk, nor of very large ones."""
        if self.storage.local:
            return 0
        size = sum(file.stored.size for file in self.files) / len(self._pieces)
        return min(_PIECES_AHEAD, int(_BYTES_AHEAD / max(size, 1)))

    def folders(self, rows: np.ndarray) -> list[str]:
        """The folder, below the storage's base, of the file that each row lies in."""
        parents = [file.stored.path.rpartition("/")[0] for file in self.files]
        pieces = np.searchsorted(self._offsets, rows, side="right") - 1
        return [parents[number] for number in self._pieces[pieces, 0].tolist()]

    def place(self, row: int) -> str:
        """The file a row lies in and its number there, as messages name it."""
        piece = int(np.searchsorted(self._offsets, row, side="right")) - 1
        number = int(self._pieces[piece, 0])
        first = self._offsets[int(np.searchsorted(self._pieces[:, 0], number))]
        return f"row {row - first} of {self.storage.shown(self.files[number].stored.path)}"

    def partitions(self, column: str) -> list[str]:
        """What the names of folders say of a column, file by file; empty where it lies in the files."""
        return [str(file.partition[column]) for file in self.files if column not in file.schema.names]

    def _blocks(self, column: str, piece: int) -> Iterator[Any]:
        number, group = (int(part) for part in self._pieces[piece])
        file = self.files[number]
        if column not in file.schema.names:
            value = pa.scalar(file.partition[column], pa.string()).cast(self._partition_types[column])
            yield pa.repeat(value, file.groups[group])
            return
        first = int(self._offsets[piece])
        with outside(partial(self._unreadable, file.stored)):
            for stored in _READERS[file.format](self._opened, file, group, column):
                yield self._checked(stored, column, first)
                first += len(stored)

    def _checked(self, stored: pa.Array, column: str, first: int) -> pa.Array:
        """A block of plain values whose offsets lie inside it and whose text is UTF-8: no reader looks at that."""
        stored = unpacked(stored)
        try:
            stored.validate(full=True)
        except pa.ArrowInvalid:
            bad = first_not_utf8(stored)
            if bad is None:
                raise
            row, content = bad
            raise RowError(
                f"column {column!r} holds bytes that are no UTF-8, {content[:20]!r}",
                row=first + row,
                place=self.place(first + row),
                key=self.key,
                value=self.value,
                mend="Write the file again with text as UTF-8",
            ) from None
        return plain(stored)

    def _survey(self, stored: StoredFile) -> TableFile:
        format = text_format(stored.path)
        with outside(partial(self._unreadable, stored)):
            if format is not None:
                schema, rows, nulls = survey_text(self.storage, stored.path, format)
                return TableFile(stored, format, schema, (rows,), nulls, _partition(stored.path))
            with self.storage.open(stored.path) as opened:
                magic = bytes(opened.read(6)) if stored.size >= 6 else b""
                if magic[:4] == b"PAR1" or stored.path.lower().endswith((".parquet", ".pq")):
                    return _survey_parquet(opened, stored)
                return _survey_arrow(opened, stored, "arrow" if magic == b"ARROW1" else "stream")

    def _unreadable(self, stored: StoredFile, error: Exception) -> DataError:
        shown = self.storage.shown(stored.path)
        if isinstance(error, TextFileError):
            mend = "Mend the file, or take it out"
            return DataError(f"{shown} cannot be read as a table: {error}", key=self.key, value=self.value, mend=mend)
        if text_format(stored.path) is not None:
            message, mend = f"{shown} cannot be read as a table: {first_line(error)}", "Write the file again"
            return DataError(message, key=self.key, value=self.value, mend=mend)
        other = self._other_kind(stored)
        if other is not None:
            return DataError(f"{shown} is {other[0]}", key=self.key, value=self.value, mend=other[1])
        return DataError(
            f"{shown} is no whole Parquet or Arrow file: {first_line(error)}",
            key=self.key,
            value=self.value,
            mend="Write the file again, or take it out of the folder",
        )

    def _other_kind(self, stored: StoredFile) -> tuple[str, str] | None:
        """What a file is that is no table, and what to do; None where its first bytes say nothing."""
        try:
            with self.storage.open(stored.path) as opened:
                head = bytes(opened.read(64)) if stored.size else b""
        except Exception:
            return None
        return next((told for start, told in _OTHER_KINDS.items() if head.lower().startswith(start)), None)


_CONVERT = "Save it as Parquet, CSV or JSON Lines"
_OTHER_KINDS = {
    b"pk\x03\x04": (
        "a ZIP archive, such as an Excel workbook, which is not read",
        "Save the sheet as CSV, or pandas.read_excel(...).to_parquet(...); arrays end in .npz",
    ),
    b"\xd0\xcf\x11\xe0": ("an old Excel or Office file, which is not read", _CONVERT),
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "Fetch it with git lfs pull"),
    b"<": ("XML or a web page (HTML), not a table", "Was the download refused? Fetch the file again"),
    b"sqlite format 3": ("an SQLite database, which is not read", _CONVERT),
    b"\x89hdf": ("an HDF5 file, which is not read", "Save it as Parquet, or arrays as .npz"),
    b"\x93numpy": ("a single NumPy array", "Save features and labels together with numpy.savez"),
    b"\x80": ("a pickle, which is never loaded, as it may run any program", _CONVERT),
    b"orc": ("an ORC file, which is not read", "Save it as Parquet"),
    b"obj\x01": ("an Avro file, which is not read", "Save it as Parquet"),
    b"fea1": ("a Feather file of version 1, which is not read", "Write it again with pyarrow.feather.write_feather"),
    b"\x1f\x8b": ("compressed with gzip", "Name it .csv.gz or .jsonl.gz if it is one, else unpack it"),
    b"{": ("JSON by its first byte", "Name it .jsonl if it has one object a line"),
    b"[": ("JSON by its first byte", "Write one object a line and name it .jsonl"),
}


def _names(file: TableFile) -> list[str]:
    return [*file.schema.names, *(name for name in file.partition if name not in file.schema.names)]


def _partition(path: str) -> dict[str, str | None]:
    """Columns that the folders on a file's way name."""
    pairs = (part.partition("=") for part in path.split("/")[:-1] if "=" in part)
    return {unquote(name): None if value == _NO_VALUE else unquote(value) for name, _, value in pairs if name}


def _partition_types(files: tuple[TableFile, ...]) -> dict[str, pa.DataType]:
    """int64 for columns in folder names where all values are whole numbers, else text."""
    values: dict[str, list[str]] = {}
    for file in files:
        for name, value in file.partition.items():
            values.setdefault(name, []).extend([] if value is None else [value])
    return {
        name: pa.int64() if all(_WHOLE_NUMBER.fullmatch(value) for value in found) else pa.string()
        for name, found in values.items()
    }


def _not_one_column(file: TableFile, column: str, names: list[str], where: str, key: str) -> DataError:
    """The error for a column that a file lacks, or has twice."""
    columns = f"Columns there: {', '.join(names)}"
    if column in names:
        mend = f"Rename all but one of them. {columns}"
        return DataError(f"is the name of {names.count(column)} columns of {where}", key=key, value=column, mend=mend)
    if file.format in ("csv", "tsv") and len(names) == 1 and re.search(r"[;|\t,]", names[0]):
        mend = f"Is another separator used? .csv files are read with commas, .tsv files with tabs. {columns}"
    else:
        mend = f"{nearest(column, names)}{columns}"
    return DataError(f"is no column of {where}", key=key, value=column, mend=mend)


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
    return TableFile(stored, "parquet", footer.schema_arrow, groups, known, _partition(stored.path))


def _survey_arrow(opened: Any, stored: StoredFile, format: Format) -> TableFile:
    opened.seek(0)
    reader = pa.ipc.open_file(opened) if format == "arrow" else pa.ipc.open_stream(opened)
    batches = _file_batches(reader) if format == "arrow" else iter(reader)
    nulls: dict[str, int] = {}
    groups = []
    for batch in batches:
        groups.append(batch.num_rows)
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            nulls[name] = nulls.get(name, 0) + _null_count(column)
            for number, field in enumerate(column.type if pa.types.is_struct(column.type) else ()):
                path = f"{name}.{field.name}"
                nulls[path] = nulls.get(path, 0) + column.field(number).null_count
    return TableFile(stored, format, reader.schema, tuple(groups), nulls, _partition(stored.path))


def _null_count(column: pa.Array) -> int:
    """Rows without a value, those included whose place in a dictionary is empty."""
    empty = isinstance(column, pa.DictionaryArray) and column.dictionary.null_count
    return int(pc.is_null(column).sum().as_py() or 0) if empty else int(column.null_count)


def _file_batches(reader: Any) -> Iterator[Any]:
    return (reader.get_batch(number) for number in range(reader.num_record_batches))


def _parquet_blocks(files: OpenFiles, file: TableFile, group: int, column: str) -> Iterator[Any]:
    with files.parquet(file.stored.path) as reader:
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


def _arrow_blocks(files: OpenFiles, file: TableFile, group: int, column: str) -> Iterator[Any]:
    fields = pa.ipc.IpcReadOptions(included_fields=[file.schema.get_field_index(column)])
    with files.storage.open(file.stored.path) as opened:
        yield pa.ipc.open_file(opened, options=fields).get_batch(group).column(column)


def _stream_blocks(files: OpenFiles, file: TableFile, group: int, column: str) -> Iterator[Any]:
    with files.storage.open(file.stored.path) as opened:
        for number, batch in enumerate(pa.ipc.open_stream(opened)):
            if number == group:
                yield batch.column(column)
                return


def _text_file_blocks(files: OpenFiles, file: TableFile, group: int, column: str) -> Iterator[Any]:
    assert file.format in ("csv", "tsv", "jsonl")
    yield from text_blocks(files.storage, file.stored.path, file.format, file.schema.field(column))


_READERS = {
    "parquet": _parquet_blocks,
    "arrow": _arrow_blocks,
    "stream": _stream_blocks,
    "csv": _text_file_blocks,
    "tsv": _text_file_blocks,
    "jsonl": _text_file_blocks,
}
