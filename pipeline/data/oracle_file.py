"""Labels that lie in a file of their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from asvp.config import DataConfig
from asvp.data.labels import RawLabels, check_label_type, is_text, join, normalise
from asvp.data.source import Source
from asvp.data.storage import Storage, StoredFile, locate, nearest, reach
from asvp.data.tables import SUFFIXES, Tables
from asvp.errors import DataError

_KEY = "data.oracle"
_TEXT_SUFFIXES = {".csv": ",", ".tsv": "\t"}


def oracle_labels(value: str, pool: Source, config: DataConfig) -> RawLabels:
    """Labels of pool rows out of a Parquet, Arrow or CSV file with columns id and label.

    Returns
    -------
    RawLabels
        One value a pool row, found by id. Text of a CSV file may stand for numbers, so its type is left open.

    Raises
    ------
    DataError
        If the file is unusable, an id occurs twice, or a pool row that has no label of its own is not in it.
    """
    storage, stored, _ = locate(value, key=_KEY, split="pool", suffixes=SUFFIXES)
    if not stored:
        raise DataError("is a folder without table files", key=_KEY, value=value, mend="Name a file")
    separator = next((mark for end, mark in _TEXT_SUFFIXES.items() if stored[0].path.lower().endswith(end)), None)
    if separator is None:
        ids, labels = _from_tables(Tables(storage, stored, key=_KEY, value=value), config)
    else:
        ids, labels = _from_text(storage, stored[0], separator, value, config)
    _check_unique(ids, "the oracle file", _KEY, value)
    names = pool.ids().cast(pa.large_string())
    _check_unique(names, "the pool", "data.id", config.id)
    places = pc.index_in(names, value_set=ids)
    _check_found(names, places, ids, pool.labels(), value)
    return RawLabels(labels.take(places), "the oracle file", guessed=separator is not None)


def _from_tables(tables: Tables, config: DataConfig) -> tuple[pa.Array, pa.Array]:
    id_name, label_name = _columns(tables.schema.names, config, tables.value)
    for type, where in tables.types(id_name, _KEY):
        if not (is_text(type) or pa.types.is_integer(type)):
            mend = "Store text or whole numbers there"
            raise DataError(f"column {id_name!r} has type {type} in {where}", key=_KEY, value=tables.value, mend=mend)
    for type, where in tables.types(label_name, _KEY):
        check_label_type(type, key=_KEY, column=label_name, where=where)
    ids = join([block.cast(pa.large_string()) for block in tables.scan(id_name)])
    return ids, join([normalise(block) for block in tables.scan(label_name)])


def _from_text(
    storage: Storage, file: StoredFile, separator: str, value: str, config: DataConfig
) -> tuple[pa.Array, pa.Array]:
    def read() -> Any:
        content = pa.py_buffer(storage.read(file.path))
        parsing = pacsv.ParseOptions(delimiter=separator, newlines_in_values=True)
        names = pacsv.open_csv(pa.BufferReader(content), parse_options=parsing).schema.names
        # As text: 007 and 7 are different ids.
        types = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.large_string()))
        return pacsv.read_csv(pa.BufferReader(content), parse_options=parsing, convert_options=types)

    table = reach(read, _KEY, value)
    id_name, label_name = _columns(table.column_names, config, value)
    ids = table.column(id_name).combine_chunks()
    return ids, normalise(table.column(label_name).combine_chunks())


def _columns(names: list[str], config: DataConfig, value: str) -> tuple[str, str]:
    """The columns with ids and labels: named as in the pool, or plainly id and label."""
    found = []
    for configured, plain in ((config.id, "id"), (config.label, "label")):
        name = next((name for name in (configured, plain) if name in names), None)
        if name is None:
            mend = f"{nearest(configured or plain, names)}Columns there: {', '.join(names)}"
            raise DataError(f"{value} has no column for the {plain}", key=_KEY, value=configured or plain, mend=mend)
        found.append(name)
    return found[0], found[1]


def _check_unique(ids: pa.Array, whose: str, key: str, value: str | None) -> None:
    if ids.null_count:
        raise DataError(f"{ids.null_count} rows of {whose} have no id", key=key, value=value, mend="Fill the ids")
    counts = ids.value_counts()
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(repeated):
        message = f"{len(repeated)} ids occur more than once in {whose}, one is {repeated[0]['values'].as_py()!r}"
        raise DataError(message, key=key, value=value, mend="With data.oracle every id must name one row")


def _check_found(names: pa.Array, places: pa.Array, ids: pa.Array, own: pa.Array | None, value: str) -> None:
    needed = np.ones(len(names), dtype=bool) if own is None else own.is_null().to_numpy(zero_copy_only=False)
    lost = np.flatnonzero(needed & places.is_null().to_numpy(zero_copy_only=False))
    if len(lost):
        first = names[int(lost[0])].as_py()
        message = f"{len(lost)} pool rows without a label are not in it, the first has the id {first!r}"
        mend = f"Ids must be the same in both; the first one there is {ids[0].as_py()!r}" if len(ids) else None
        raise DataError(message, key=_KEY, value=value, mend=mend or "It is empty")
