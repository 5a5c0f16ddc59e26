"""Tables in text files: CSV, TSV and JSON Lines, also compressed, read by pyarrow one block at a time."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.json as pajson

from asvp.data.storage import Storage
from asvp.errors import first_line

TextFormat = Literal["csv", "tsv", "jsonl"]
SEPARATED = (".csv", ".tsv")
JSON_LINES = (".jsonl", ".ndjson", ".json")
COMPRESSED = ("", ".gz", ".bz2", ".zst")

_SEPARATORS = {"csv": ",", "tsv": "\t"}
_BLOCK_BYTES = 8 << 20
_LONGEST_ROW = 1 << 30
_NEVER_CLOSED = "a quotation mark is never closed"
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


class TextFileError(ValueError):
    """A text file that is no table; the text names the line where it is known."""


def endings(plain: Iterable[str]) -> tuple[str, ...]:
    """Endings of files, with those of their compressed forms."""
    return tuple(f"{ending}{compressed}" for ending in plain for compressed in COMPRESSED)


def text_format(path: str) -> TextFormat | None:
    """What a file's ending says it is; None where it is no text file."""
    lowered = path.lower()
    if lowered.endswith(endings([".csv"])):
        return "csv"
    if lowered.endswith(endings([".tsv"])):
        return "tsv"
    return "jsonl" if lowered.endswith(endings(JSON_LINES)) else None


def survey_text(storage: Storage, path: str, format: TextFormat) -> tuple[pa.Schema, int, dict[str, int]]:
    """Columns, number of rows and rows without a value of a text file, all of which is parsed for this.

    Raises
    ------
    TextFileError
        If a row is ragged or no JSON object, bytes are no UTF-8, or a column changes its type.
    """
    _check_encoding(storage, path)
    return _survey_json(storage, path) if format == "jsonl" else _survey_separated(storage, path, format)


def text_blocks(storage: Storage, path: str, format: TextFormat, field: pa.Field) -> Iterator[pa.Array]:
    """A column of a text file, block by block in row order."""
    if format != "jsonl":
        for batch in _batches(storage, path, format, [field.name], only=True):
            yield batch.column(0)
        return
    for _, block in _numbered(_line_blocks(storage, path)):
        yield from _parsed(block, pa.schema([field])).column(0).chunks


def _survey_separated(storage: Storage, path: str, format: TextFormat) -> tuple[pa.Schema, int, dict[str, int]]:
    rows, last = 0, None
    try:
        with _opened(storage, path) as stream:
            names = _reader(stream, format, {}).schema.names
        for batch in _batches(storage, path, format, names, only=False):
            rows += batch.num_rows
            last = batch.slice(batch.num_rows - 1) if batch.num_rows else last
    except pa.ArrowInvalid as error:
        raise _explained(storage, path, format, error) from None
    if last is not None and any("\n" in column[0].as_py() for column in last.columns):
        unpaired = _unpaired_mark(storage, path)
        if unpaired is not None:
            row = _row(storage, path, format)
            line = unpaired if row is None else row.opened(unpaired)
            raise TextFileError(f"line {line}: {_NEVER_CLOSED}, so that all lines after it are one value")
    return pa.schema([(name, pa.large_string()) for name in names]), rows, {}


def _batches(
    storage: Storage, path: str, format: TextFormat, names: list[str], *, only: bool
) -> Iterator[pa.RecordBatch]:
    """Record batches of a CSV file with columns as text (007 and 7 are different ids), or `only` those columns."""
    options: dict[str, Any] = {"column_types": dict.fromkeys(names, pa.large_string())}
    if only:
        options["include_columns"] = names
    handed_out, block_bytes = 0, _BLOCK_BYTES
    while True:
        try:
            with _opened(storage, path) as stream:
                first = 0
                for batch in _reader(stream, format, options, block_bytes):
                    # Begun again with larger blocks, it passes over the rows that were handed out before.
                    fresh = batch.slice(min(batch.num_rows, max(0, handed_out - first)))
                    first += batch.num_rows
                    handed_out = max(handed_out, first)
                    if fresh.num_rows:
                        yield fresh
            return
        except pa.ArrowInvalid as error:
            if "straddling" not in str(error) or block_bytes >= _LONGEST_ROW:
                raise
            block_bytes = min(8 * block_bytes, _LONGEST_ROW)


def _reader(stream: Any, format: TextFormat, options: dict[str, Any], block_bytes: int = _BLOCK_BYTES) -> Any:
    return pacsv.open_csv(
        stream,
        read_options=pacsv.ReadOptions(block_size=block_bytes, use_threads=False),
        parse_options=pacsv.ParseOptions(delimiter=_SEPARATORS[format], newlines_in_values=True),
        convert_options=pacsv.ConvertOptions(**options),
    )


def _explained(storage: Storage, path: str, format: TextFormat, error: pa.ArrowInvalid) -> TextFileError:
    """What is wrong with a CSV file, by its line."""
    text = str(error)
    if "straddling" in text:
        return TextFileError("a row is longer than 1 GiB; is a quotation mark never closed?")
    if "mpty CSV file" in text:
        return TextFileError("it is empty")
    if "UTF" in text:
        return _not_utf8(storage, path) or TextFileError(first_line(error))
    uneven = re.search(r"Row #(\d+): Expected (\d+) columns, got (\d+)", text)
    if uneven is None:
        return TextFileError(first_line(error))
    row = _row(storage, path, format, other_than=int(uneven[2]))
    told = f"has {uneven[3]} columns where the header has {uneven[2]}"
    if row is None:
        return TextFileError(f"row {int(uneven[1])}, the header being row 1, {told}")
    unpaired = _unpaired_mark(storage, path) if row.last != row.first else None
    if unpaired is None:
        where = f"line {row.last}" if row.last else f"the row that begins in line {row.first}"
        return TextFileError(f"{where} {told}")
    return TextFileError(
        f"line {row.opened(unpaired)}: {_NEVER_CLOSED}, so that the row that begins in line {row.first} {told}"
    )


@dataclass(frozen=True)
class _Row:
    """Lines of a row, and whether its last value has line breaks.

    `last` is None where the row has a value that is longer than Python's reader takes.
    """

    first: int
    last: int | None
    open_end: bool

    def opened(self, unpaired: int) -> int:
        """The line of the mark in this row that is never closed, `unpaired` being that of the last mark of all.

        That is the last of all where nothing comes after it; else a mark further down was taken for its partner.
        """
        return unpaired if self.open_end else self.first


def _row(storage: Storage, path: str, format: TextFormat, *, other_than: int | None = None) -> _Row | None:
    """The first row that has another number of values, or the last of all; None where Python's reader sees none."""
    found = None
    with _opened(storage, path) as stream:
        rows = csv.reader(io.TextIOWrapper(stream, "utf-8-sig", "replace", newline=""), delimiter=_SEPARATORS[format])
        before = 0
        try:
            for row in rows:
                if row and len(row) != other_than:
                    found = _Row(before + 1, rows.line_num, "\n" in row[-1])
                    if other_than is not None:
                        return found
                before = rows.line_num
        except csv.Error:
            return _Row(before + 1, None, False)
    return found


def _unpaired_mark(storage: Storage, path: str) -> int | None:
    """The line of the last quotation mark, where their number is odd."""
    marks, lines, last = 0, 1, 1
    with _opened(storage, path) as stream:
        for chunk in _chunks(stream):
            found = chunk.count(b'"')
            if found:
                marks, last = marks + found, lines + chunk.count(b"\n", 0, chunk.rfind(b'"'))
            lines += chunk.count(b"\n")
    return last if marks % 2 else None


def _survey_json(storage: Storage, path: str) -> tuple[pa.Schema, int, dict[str, int]]:
    rows, schema = 0, pa.schema([])
    nulls: dict[str, int] = {}
    for first, block in _numbered(_line_blocks(storage, path)):
        try:
            table = _parsed(block, None)
        except pa.ArrowInvalid as error:
            raise TextFileError(_json_line(block, first, str(error))) from None
        try:
            schema = pa.unify_schemas([schema, _kept(table.schema)], promote_options="permissive")
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise TextFileError(f"a column changes its type at or after line {first}: {first_line(error)}") from None
        for name in set(schema.names) | set(table.column_names):
            before = nulls.get(name, rows)
            nulls[name] = before + (table.column(name).null_count if name in table.column_names else table.num_rows)
        rows += table.num_rows
    if not rows:
        raise TextFileError("it is empty")
    return schema, rows, nulls


def _parsed(block: bytes, schema: pa.Schema | None) -> pa.Table:
    options: dict[str, Any] = (
        {} if schema is None else {"explicit_schema": schema, "unexpected_field_behavior": "ignore"}
    )
    return pajson.read_json(
        pa.BufferReader(block),
        read_options=pajson.ReadOptions(block_size=len(block) + 1, use_threads=False),
        parse_options=pajson.ParseOptions(**options),
    )


def _kept(schema: pa.Schema) -> pa.Schema:
    """Types as they are read: pyarrow takes text that looks like a date for one."""
    return pa.schema([(field.name, _without_dates(field.type)) for field in schema])


def _without_dates(type: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(type):
        return pa.string()
    if pa.types.is_list(type):
        return pa.list_(_without_dates(type.value_type))
    if pa.types.is_struct(type):
        return pa.struct([(field.name, _without_dates(field.type)) for field in type])
    return type


def _line_blocks(storage: Storage, path: str) -> Iterator[bytes]:
    """Whole lines, some MiB at a time."""
    rest = b""
    with _opened(storage, path) as stream:
        for number, chunk in enumerate(_chunks(stream)):
            content = rest + (chunk.removeprefix(codecs.BOM_UTF8) if not number else chunk)
            whole, newline, rest = content.rpartition(b"\n")
            if newline:
                yield whole + newline
            if len(rest) > _LONGEST_ROW:
                raise TextFileError("a line is longer than 1 GiB")
    if rest:
        yield rest


def _numbered(blocks: Iterator[bytes]) -> Iterator[tuple[int, bytes]]:
    """Blocks that hold more than white space, with the number of their first line, counted from 1."""
    line = 1
    for block in blocks:
        if block.strip():
            yield line, block
        line += block.count(b"\n")


def _json_line(block: bytes, first: int, text: str) -> str:
    """The line that the parser stopped at, and why."""
    reason = re.sub(r"^JSON parse error: | in row \d+$", "", text.splitlines()[0]).rstrip(".")
    row = re.search(r"in row (\d+)", text)
    if first == 1 and block.lstrip().startswith(b"["):
        return "it is one JSON array; JSON Lines have one object a line, without brackets and commas around them"
    if row is None:
        return f"at or after line {first}: {reason}"
    filled = [number for number, line in enumerate(block.splitlines(), first) if line.strip()]
    return f"line {filled[min(int(row[1]), len(filled) - 1)]}: {reason}"


def _check_encoding(storage: Storage, path: str) -> None:
    """Raise a TextFileError for what the first bytes tell at once."""
    with _opened(storage, path) as stream:
        head = bytes(stream.read(4096))
    if head.startswith(_UTF_16):
        raise TextFileError("it is encoded as UTF-16; save it as UTF-8")
    if b"\0" in head:
        raise TextFileError("it holds zero bytes, so it is no text")


def _not_utf8(storage: Storage, path: str) -> TextFileError | None:
    """The first line that is no UTF-8."""
    line = 1
    for block in _line_blocks(storage, path):
        for content in block.split(b"\n"):
            try:
                content.decode()
            except UnicodeDecodeError as error:
                bad = content[error.start : error.start + 1]
                return TextFileError(f"line {line} holds the byte {bad!r}, which is no UTF-8; save the file as UTF-8")
            line += 1
        line -= 1
    return None


def _opened(storage: Storage, path: str) -> Any:
    """The file's content as a stream, decompressed as its ending says."""
    return storage.filesystem.open_input_stream(storage.full(path), compression="detect")


def _chunks(stream: Any) -> Iterator[bytes]:
    while chunk := bytes(stream.read(_BLOCK_BYTES)):
        yield chunk
