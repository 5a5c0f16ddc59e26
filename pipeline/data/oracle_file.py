"""Labels that lie in a file of their own."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from asvp.config import DataConfig
from asvp.data import tables
from asvp.data.boundary import Boundary
from asvp.data.labels import RawLabels, check_label_type, is_text, join, normalise
from asvp.data.listing import locate
from asvp.data.source import Source
from asvp.data.storage import nearest
from asvp.data.tables import Tables
from asvp.errors import DataError

_KEY = "data.oracle"


def oracle_labels(value: str, pool: Source, config: DataConfig) -> RawLabels:
    """Labels of pool rows out of a Parquet, Arrow, CSV or JSON Lines file with columns id and label.

    Returns
    -------
    RawLabels
        One value a pool row, found by id. Text of a CSV file may stand for numbers, so its type is left open.

    Raises
    ------
    DataError
        If the file is unusable, an id occurs twice, or a pool row that has no label of its own is not in it.
    """
    listing = locate(value, key=_KEY, split="pool")
    stored = listing.ending(tables.SUFFIXES) if listing.is_folder else listing.files
    if not stored:
        raise DataError("is a folder without table files", key=_KEY, value=value, mend="Name a file")
    Boundary(config.root, config.allow_outside).require(listing, stored, key=_KEY, value=value)
    opened = Tables(listing.storage, stored, key=_KEY, value=value)
    ids, labels = _ids_and_labels(opened, config)
    _check_unique(ids, "the oracle file", _KEY, value)
    names = pool.ids().cast(pa.large_string())
    _check_unique(names, "the pool", "data.id", config.id)
    places = pc.index_in(names, value_set=ids)
    _check_found(names, places, ids, pool.labels(), value)
    return RawLabels(labels.take(places), "the oracle file", guessed=opened.untyped)


def _ids_and_labels(opened: Tables, config: DataConfig) -> tuple[pa.Array, pa.Array]:
    id_name, label_name = _columns(opened.names, config, opened.value)
    for type, where in opened.types(id_name, _KEY):
        if not (is_text(type) or pa.types.is_integer(type)):
            mend = "Store text or whole numbers there"
            raise DataError(f"column {id_name!r} has type {type} in {where}", key=_KEY, value=opened.value, mend=mend)
    for type, where in opened.types(label_name, _KEY):
        check_label_type(type, key=_KEY, column=label_name, where=where)
    ids = join([block.cast(pa.large_string()) for block in opened.scan(id_name)])
    return ids, join([normalise(block, label_name) for block in opened.scan(label_name)])


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
