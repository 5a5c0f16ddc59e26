"""test_rows.parquet of a run: which test rows its final models got right, so that arms are compared in pairs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from asvp.errors import DataError
from asvp.files import write_atomically
from asvp.parquet import read_parquet

TEST_ROWS = "test_rows.parquet"
"""The name of the file in a run directory."""

Correct = Mapping[int, NDArray[np.bool_]]
"""By labels bought, which of N test rows are predicted right, shape (N,)."""

_SCHEMA = pa.schema([("labelled", pa.int64()), ("correct", pa.list_(pa.bool_()))])


def write_test_rows(
    path: Path, correct: Correct, *, write: Callable[[Path, Callable[[Path], Any]], None] = write_atomically
) -> None:
    """Write one row a label count, about N / 8 bytes each, atomically (by `write`).

    Raises
    ------
    RunDirectoryError, WorkError
        If it cannot be written.
    """
    columns = [sorted(correct), [pa.array(correct[labelled]) for labelled in sorted(correct)]]
    table = pa.table(columns, schema=_SCHEMA)
    write(path, lambda temporary: pq.write_table(table, temporary, write_page_checksum=True))


def read_test_rows(path: Path) -> dict[int, NDArray[np.bool_]]:
    """What `write_test_rows` wrote; empty where there is no such file, as in runs of earlier versions.

    Raises
    ------
    DataError
        If it is damaged.
    """
    if not path.is_file():
        return {}
    try:
        table = read_parquet(path, schema=_SCHEMA)
        rows = zip(table["labelled"].to_pylist(), table["correct"].combine_chunks(), strict=True)
        return {labelled: row.values.to_numpy(zero_copy_only=False).astype(np.bool_) for labelled, row in rows}
    except Exception as error:
        # Whatever pyarrow makes of bytes that were altered.
        raise DataError(
            f"cannot be read: {' '.join(str(error).split())}",
            key=str(path),
            mend="Remove it: intervals are then of seeds alone",
        ) from None
