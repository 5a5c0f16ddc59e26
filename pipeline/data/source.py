"""What a source of rows can do, and a view on some rows of another source."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
import pyarrow as pa

from asvp.errors import DataError, RowError

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
    title : str
        What the rows are together, for messages: "the pool" or "the test rows".
    """

    def __init__(
        self, base: Source, rows: np.ndarray | None = None, *, labelled: bool = True, title: str = "the pool"
    ) -> None:
        self.base = base
        self.title = title
        self.rows = None if rows is None else np.asarray(rows, dtype=np.int64)
        self.labelled = labelled
        self._digest: str | None = None
        self._numbers: np.ndarray | None = None

    @property
    def kind(self) -> Kind:
        return self.base.kind

    def __len__(self) -> int:
        return len(self.base) if self.rows is None else len(self.rows)

    def take(self, rows: np.ndarray) -> Rows:
        """Rows of the view; see `Source.take`. A row that cannot be used is named by its number here."""
        rows = check_rows(rows, len(self))
        try:
            return self.base.take(rows if self.rows is None else self.rows[rows])
        except RowError as error:
            row = error.row if self.rows is None else int(np.searchsorted(self.rows, error.row))
            raise self._named(error, row, error.place) from None

    def place(self, row: int) -> str:
        """Where a row lies, as far as the base tells it, and what it is called."""
        row = row if self.rows is None else int(self.rows[row])
        return place_of(self.base, row)

    def named(self, error: RowError, row: int) -> DataError:
        """An error about the content of a row, which is known here by its number and its place."""
        return self._named(error, row, self.place(row))

    def _named(self, error: RowError, row: int, place: str | None) -> DataError:
        number = row if self._numbers is None else int(self._numbers[row])
        where = f"row {number} of {self.title}" + ("" if place is None else f", {place}")
        return DataError(f"{where}: {error.problem}", key=error.key, value=error.value, mend=error.mend)

    def excerpt(self, rows: np.ndarray) -> View:
        """A view of some rows alone, (n,) ascending: as large as they are, not as this one is.

        Its digest is that of `View(self, rows)`, and messages name its rows by their numbers here.
        """
        rows = check_rows(rows, len(self))
        inside = rows if self.rows is None else self.rows[rows]
        alone = excerpt_of(self.base, inside)
        base, chosen = (self.base, inside) if alone is None else (alone, None)
        found = View(base, chosen, labelled=self.labelled, title=self.title)
        found._digest = View(self, rows).digest()
        found._numbers = rows if self._numbers is None else self._numbers[rows]
        return found

    def ids(self) -> pa.Array:
        """Names of the rows, as the base gives them."""
        ids = self.base.ids()
        return ids if self.rows is None else ids.take(pa.array(self.rows))

    def ids_of(self, rows: np.ndarray) -> pa.Array:
        """Names of some rows of the view."""
        rows = check_rows(rows, len(self))
        return ids_of(self.base, rows if self.rows is None else self.rows[rows])

    def pieces(self) -> np.ndarray | None:
        """As `pieces_of`; None too where the view has the rows of its base in another order."""
        found = pieces_of(self.base)
        if found is None or self.rows is None:
            return found
        ascending = bool((self.rows[:-1] <= self.rows[1:]).all())
        return np.searchsorted(self.rows, found) if ascending else None

    def labels(self) -> pa.Array | None:
        """Labels of the rows, or None when the view hides them."""
        labels = self.base.labels() if self.labelled else None
        return labels if labels is None or self.rows is None else labels.take(pa.array(self.rows))

    def digest(self) -> str:
        """Fingerprint of the base and of the choice of rows."""
        if self._digest is None:
            if self.rows is None:
                return self.base.digest()
            state = hashlib.blake2b(self.base.digest().encode(), digest_size=16)
            state.update(np.ascontiguousarray(self.rows, dtype="<i8").data)
            self._digest = state.hexdigest()
        return self._digest


class SentRows:
    """Some rows of a source as they travel: read by the numbers that they have there, without all other rows.

    What the others are shows in the digest alone, which is that of the source.

    Parameters
    ----------
    source : Source
    rows : (n,) int64
        In any order.
    """

    def __init__(self, source: Source, rows: np.ndarray) -> None:
        self._digest = source.digest()
        self._numbers = np.unique(rows)
        self._rows = excerpt(source, self._numbers)

    @property
    def kind(self) -> Kind:
        return self._rows.kind

    def take(self, rows: np.ndarray) -> Rows:
        """Rows that travel; an IndexError for any other."""
        return self._rows.take(self._places(rows))

    def named(self, error: RowError, row: int) -> DataError:
        """As `View.named`."""
        return self._rows.named(error, int(self._places(np.array([row]))[0]))

    def digest(self) -> str:
        """That of the source."""
        return self._digest

    def _places(self, rows: np.ndarray) -> np.ndarray:
        absent = np.setdiff1d(rows, self._numbers)
        if len(absent):
            raise IndexError(f"row {absent[0]} was not sent; {len(self._numbers)} rows were")
        return np.searchsorted(self._numbers, rows)


Readable = Source | SentRows
"""What rows are read of."""


class ChosenRows(Sequence[Any]):
    """Some rows of a source as a sequence; a slice of it is read when it is asked for.

    Parameters
    ----------
    source : Readable
    rows : (n,) int64
    """

    def __init__(self, source: Readable, rows: np.ndarray) -> None:
        self._source = source
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, wanted: Any) -> Any:
        if isinstance(wanted, slice):
            return self._source.take(self._rows[wanted])
        return self._source.take(self._rows[wanted : wanted + 1])[0]


@contextmanager
def rows_named(source: Readable, rows: np.ndarray) -> Iterator[None]:
    """Errors about places in a list of rows, raised again about the rows of the source.

    Parameters
    ----------
    source : Readable
    rows : (n,) int64
        The list that is worked on inside.
    """
    try:
        yield
    except RowError as error:
        row = int(rows[error.row])
        raise source.named(error, row) if isinstance(source, (View, SentRows)) else error.moved(row) from None


def ids_of(source: Source, rows: np.ndarray) -> pa.Array:
    """(n,) text: the names of some rows, without those of all others where the source has a method `ids_of`."""
    own = getattr(source, "ids_of", None)
    found: pa.Array = source.ids().take(pa.array(rows)) if own is None else own(rows)
    return found


def place_of(source: Source, row: int) -> str:
    """Where a row lies, where the source has a method `place` to tell, or what it is called."""
    own = getattr(source, "place", None)
    # Another package's source may call something else its place.
    return str(own(row)) if callable(own) else f"id {ids_of(source, np.array([row]))[0].as_py()!r}"


def pieces_of(source: Source) -> np.ndarray | None:
    """(P + 1,) int64: first row of each piece that is decoded as a whole, such as a row group, and the number of rows.

    None where the source has no method `pieces` to tell.
    """
    own = getattr(source, "pieces", None)
    found: np.ndarray | None = None if own is None else own()
    return found


def excerpt_of(source: Source, rows: np.ndarray) -> Source | None:
    """A source of some rows alone, (n,) ascending, numbered anew from 0; None where it has no method `excerpt`.

    Without one it travels whole, with whatever it keeps of all its rows.
    """
    own = getattr(source, "excerpt", None)
    found: Source | None = None if own is None else own(rows)
    return found


def excerpt(source: Source, rows: np.ndarray) -> View:
    """Some rows of a source without labels, (n,) ascending, for a process that reads no others; see `View.excerpt`."""
    return (source if isinstance(source, View) else View(source, labelled=False)).excerpt(rows)


def check_rows(rows: np.ndarray, count: int) -> np.ndarray:
    """Row numbers as an int64 array; IndexError where one is outside 0..count-1."""
    rows = np.asarray(rows, dtype=np.int64)
    if rows.ndim != 1:
        raise IndexError(f"row numbers come as one dimension, not {rows.ndim}")
    if rows.size and (rows.min() < 0 or rows.max() >= count):
        raise IndexError(f"row numbers must lie in 0..{count - 1}, got {rows.min()}..{rows.max()}")
    return rows
