"""What a source of rows can do, and a view on some rows of another source."""

from __future__ import annotations

import hashlib
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

Kind = Literal["text", "image", "features"]
Rows = list[str] | list[bytes] | np.ndarray


@runtime_checkable
class Source(Protocol):
    """N rows described cheaply: picklable, and read lazily by whichever process asks for them.

    Attributes
    ----------
    kind : {"text", "image", "features"}
        What a row is: a str, the bytes of an encoded image, or a vector.
    """

    @property
    def kind(self) -> Kind: ...

    def __len__(self) -> int: ...

    def take(self, rows: np.ndarray) -> Rows:
        """Read rows.

        Parameters
        ----------
        rows : (n,) int64
            Row numbers in 0..N-1, in any order, repeats allowed. Ascending requests read every file once.

        Returns
        -------
        list of str, list of bytes, or (n, D) float32 or float16
            The rows in the order asked for.

        Raises
        ------
        DataError
            If a row is missing, empty or unreadable.
        """
        ...

    def ids(self) -> pa.Array:
        """(N,) text: each row's own name, or its number in the files where there is no id column."""
        ...

    def labels(self) -> pa.Array | None:
        """(N,) labels as stored (text, whole numbers or booleans), null where missing; None without a label column."""
        ...

    def digest(self) -> str:
        """Hexadecimal fingerprint of the content: equal for equal rows in equal order."""
        ...


class View:
    """Some rows of another source, with or without their labels.

    Parameters
    ----------
    base : Source
    rows : (n,) int64, optional
        Row numbers of `base`; None: all.
    labelled : bool
        False hides the labels, so that what is handed to workers and strategies cannot leak them.
    """

    def __init__(self, base: Source, rows: np.ndarray | None = None, *, labelled: bool = True) -> None:
        self.base = base
        self.rows = None if rows is None else np.asarray(rows, dtype=np.int64)
        self.labelled = labelled

    @property
    def kind(self) -> Kind:
        return self.base.kind

    def __len__(self) -> int:
        return len(self.base) if self.rows is None else len(self.rows)

    def take(self, rows: np.ndarray) -> Rows:
        """Rows of the view; see `Source.take`."""
        rows = check_rows(rows, len(self))
        return self.base.take(rows if self.rows is None else self.rows[rows])

    def ids(self) -> pa.Array:
        """Names of the rows, as the base gives them."""
        ids = self.base.ids()
        return ids if self.rows is None else ids.take(pa.array(self.rows))

    def labels(self) -> pa.Array | None:
        """Labels of the rows, or None when the view hides them."""
        labels = self.base.labels() if self.labelled else None
        return labels if labels is None or self.rows is None else labels.take(pa.array(self.rows))

    def digest(self) -> str:
        """Fingerprint of the base and of the choice of rows."""
        if self.rows is None:
            return self.base.digest()
        state = hashlib.blake2b(self.base.digest().encode(), digest_size=16)
        state.update(self.rows.astype("<i8").tobytes())
        return state.hexdigest()


def check_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Row numbers as an int64 array; IndexError where one is outside 0..count-1."""
    rows = np.asarray(rows, dtype=np.int64)
    if rows.ndim != 1:
        raise IndexError(f"row numbers come as one dimension, not {rows.ndim}")
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise IndexError(f"row numbers must lie in 0..{count - 1}, got {rows.min()}..{rows.max()}")
    return rows
