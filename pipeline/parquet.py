"""Parquet files that asvp wrote, read back from folders that others may write in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


def read_parquet(path: str | Path, columns: Sequence[str] | None = None, schema: pa.Schema | None = None) -> pa.Table:
    """The table in a file, its pages held against their checksums where it has some.

    Parameters
    ----------
    path : str or Path
    columns : sequence of str, optional
        None: all of them.
    schema : pyarrow.Schema, optional
        Types to read as.

    Raises
    ------
    ValueError
        If a column is of an extension type. asvp writes none, and other libraries give such types a meaning: values of
        Ray's Python objects are unpickled by whoever looks at them, wherever Ray Data is imported.
    Exception
        Whatever pyarrow makes of bytes that were altered.
    """
    table = pq.read_table(
        path,
        columns=None if columns is None else list(columns),
        schema=schema,
        partitioning=None,
        page_checksum_verification=True,
    )
    for field in table.schema:
        if _is_extended(field.type):
            raise ValueError(f"the column {field.name!r} is of the type {field.type}, which is no plain one")
    return table


def _is_extended(type: pa.DataType) -> bool:
    if isinstance(type, pa.BaseExtensionType):
        return True
    return any(_is_extended(type.field(number).type) for number in range(type.num_fields))
