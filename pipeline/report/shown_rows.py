"""What a run keeps of rows for people to look at: some picks of each round, and a map of the pool.

`shown_rows.parquet` has a row a pick, `map.parquet` one a point. Both are small whatever the pool, and hold no label:
those that were bought are in labelled.parquet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asvp.errors import DataError
from asvp.files import write_atomically
from asvp.parquet import read_parquet

SHOWN_ROWS, ROW_MAP = "shown_rows.parquet", "map.parquet"
"""The names of the files in a run directory."""

SHOWN_SCHEMA = pa.schema(
    [
        ("round", pa.int32()),
        ("row", pa.int64()),
        ("version", pa.int32()),
        ("predicted", pa.string()),
        ("probability", pa.float32()),
        ("second", pa.string()),
        ("second_probability", pa.float32()),
        ("words", pa.string()),
        ("thumbnail", pa.binary()),
    ]
)
"""Feature version at the pick; the two most probable classes then, null before the first labels; first words of a text,
or a small JPEG of an image, null where a row has none that can be shown."""

MAP_SCHEMA = pa.schema([("version", pa.int32()), ("row", pa.int64()), ("x", pa.float32()), ("y", pa.float32())])
"""Places on the two widest axes of a feature version, in units of the spread along the first."""

Write = Callable[[Path, Callable[[Path], Any]], None]


def write_table(path: Path, table: pa.Table, *, write: Write = write_atomically) -> None:
    """Write one of the two files atomically (by `write`).

    Raises
    ------
    RunDirectoryError, WorkError
        If it cannot be written.
    """
    write(path, lambda temporary: pq.write_table(table, temporary, write_page_checksum=True))


def read_shown_rows(path: Path) -> pa.Table:
    """The picks to look at; none where there is no such file, as in runs of earlier versions.

    Raises
    ------
    DataError
        If it is damaged.
    """
    return _read(path, SHOWN_SCHEMA)


def read_map(path: Path) -> pa.Table:
    """The points of the map; none, and errors, as in `read_shown_rows`."""
    return _read(path, MAP_SCHEMA)


def _read(path: Path, schema: pa.Schema) -> pa.Table:
    if not path.is_file():
        return schema.empty_table()
    try:
        table = read_parquet(path)
        return table.select(schema.names).cast(schema)
    except Exception as error:
        # Whatever pyarrow makes of bytes that were altered.
        raise DataError(
            f"cannot be read: {' '.join(str(error).split())}",
            key=str(path),
            mend="Remove it: the page then shows no rows of this run",
        ) from None
