"""The Arrow form of a feature shard: {row: int64, feature: fixed_size_list<float16|float32>[D]}."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from asvp.errors import DataError


def feature_table(features: NDArray[np.floating], first_row: int, dtype: str) -> pa.Table:
    """Put features into a table.

    Parameters
    ----------
    features : ndarray of shape (n, D), floating
    first_row : int
        Row number of the first feature; the others follow without a gap.
    dtype : {"float32", "float16"}
        Type they are stored in.

    Raises
    ------
    DataError
        If a feature is not finite, or too large for `dtype`.
    """
    with np.errstate(over="ignore"):
        stored = np.ascontiguousarray(features, dtype=dtype)
    finite = np.isfinite(stored).all(axis=1)
    if not finite.all():
        raise DataError(
            f"the feature of row {first_row + int(np.argmin(finite))} is not finite as {dtype}",
            key="extraction.feature_dtype" if np.isfinite(features).all() else "data.features",
            value=dtype,
            mend="Use feature_dtype float32"
            if dtype == "float16"
            else "Look at that row, or use encoder.dtype float32",
        )
    rows = np.arange(first_row, first_row + len(stored), dtype=np.int64)
    column = pa.FixedSizeListArray.from_arrays(pa.array(stored.reshape(-1)), stored.shape[1])
    return pa.table({"row": rows, "feature": column})


def features_of(table: pa.Table) -> NDArray[np.floating]:
    """The features of a table as an array of shape (n, D): a read-only view, never a copy."""
    column = table.column("feature")
    chunk = column.chunk(0)
    view: NDArray[np.floating] = chunk.flatten().to_numpy(zero_copy_only=True).reshape(-1, column.type.list_size)
    return view
