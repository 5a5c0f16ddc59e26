"""Rows made from their numbers: a source of any size that holds none of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

CLASSES = 100


class NumberedRows:
    """N rows of D numbers, whose labels and names follow from their numbers.

    Parameters
    ----------
    rows, dim : int
        N and D.
    """

    kind = "features"

    def __init__(self, rows: int, dim: int) -> None:
        self._rows = rows
        self._dim = dim

    def __len__(self) -> int:
        return self._rows

    def take(self, rows: np.ndarray) -> np.ndarray:
        """(n, D) float16."""
        return np.repeat((rows % 1024).astype(np.float16)[:, None], self._dim, axis=1)

    def ids(self) -> pa.Array:
        """(N,) text: row numbers."""
        return pa.array(np.arange(self._rows)).cast(pa.large_string())

    def ids_of(self, rows: np.ndarray) -> pa.Array:
        """(n,) text: the numbers of some rows."""
        return pa.array(np.asarray(rows)).cast(pa.large_string())

    def labels(self) -> pa.Array:
        """(N,) whole numbers."""
        return pa.array(np.arange(self._rows, dtype=np.int32) % CLASSES)

    def digest(self) -> str:
        """Of the two numbers that all of it is made from."""
        return f"{self._rows:x}-{self._dim:x}"


def open_rows(place: str, config: Any) -> NumberedRows:
    """Open `ROWSxDIM`, as in `driver_scale_rows:open_rows:98304000x768`."""
    rows, dim = place.split("x")
    return NumberedRows(int(rows), int(dim))
