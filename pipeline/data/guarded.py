"""Rows of another package's source, held to what asvp's own sources see to: their form, and what one row may cost."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
import pyarrow as pa

from asvp.config import DataConfig
from asvp.data.source import Kind, Rows, Source, check_rows, excerpt_of, ids_of, pieces_of, place_of
from asvp.errors import DataError, RowError

_MEND = "Mend the row or leave it out; asvp.data.testing checks what a source promises"


class GuardedSource:
    """A `Source` whose rows are looked at as they come from another one.

    Whatever that one reads to give a row is its own affair; what it gives goes no further unless it is as promised.

    Parameters
    ----------
    base : Source
    config : DataConfig
        With the limits.
    key, value : str
        The option that names the source, and what it says.
    """

    def __init__(self, base: Source, config: DataConfig, *, key: str, value: str) -> None:
        self._base = base
        self._most = {"text": config.max_text_bytes, "image": config.max_image_bytes}
        self._key = key
        self._value = value

    @property
    def kind(self) -> Kind:
        return self._base.kind

    @property
    def guessed(self) -> bool:
        """Whether labels are text only because the source knows no types."""
        return bool(getattr(self._base, "guessed", False))

    def __len__(self) -> int:
        return len(self._base)

    def take(self, rows: np.ndarray) -> Rows:
        """The rows as the source gives them; see `Source.take`.

        Raises
        ------
        RowError
            For a row that is of another kind, has too many bytes, or holds numbers that are not finite.
        DataError
            If other rows come than were asked for.
        """
        rows = check_rows(rows, len(self))
        taken: Rows = self._base.take(rows)
        if self.kind == "features":
            self._check_features(taken, rows)
            return taken
        if not isinstance(taken, list) or len(taken) != len(rows):
            raise self._unlike(f"a list of {len(rows):,} rows", taken)
        limit = f"data.max_{self.kind}_bytes"
        contents: list[Any] = list(taken)
        for place, content in enumerate(contents):
            problem = _not_text(content) if self.kind == "text" else _not_bytes(content)
            if problem:
                raise self._refused(int(rows[place]), problem, _MEND)
            size = _too_large(content, self._most[self.kind])
            if size:
                problem = f"it has {size}, which is more than {limit}, {self._most[self.kind]:,}"
                raise self._refused(int(rows[place]), problem, f"Mend the row, leave it out, or raise {limit}")
        return taken

    def place(self, row: int) -> str:
        """Where a row lies."""
        return place_of(self._base, row)

    def ids(self) -> pa.Array:
        """(N,) text."""
        return self._base.ids()

    def ids_of(self, rows: np.ndarray) -> pa.Array:
        """(n,) text: the names of some rows."""
        return ids_of(self._base, rows)

    def pieces(self) -> np.ndarray | None:
        """As `pieces_of`."""
        return pieces_of(self._base)

    def excerpt(self, rows: np.ndarray) -> GuardedSource | None:
        """As `excerpt_of`; its rows are looked at too."""
        base = excerpt_of(self._base, rows)
        if base is None:
            return None
        found = copy(self)
        found._base = base
        return found

    def labels(self) -> pa.Array | None:
        """As the source gives them; they are looked at by who reads them."""
        return self._base.labels()

    def digest(self) -> str:
        """The source's own: what is looked at is not changed."""
        return self._base.digest()

    def _check_features(self, taken: Any, rows: np.ndarray) -> None:
        fits = isinstance(taken, np.ndarray) and taken.ndim == 2 and taken.dtype.kind in "fiu"
        if not fits or len(taken) != len(rows) or not taken.shape[1]:
            raise self._unlike(f"a matrix of {len(rows):,} rows of numbers", taken)
        odd = np.flatnonzero(~np.isfinite(taken).all(axis=1))
        if len(odd):
            raise self._refused(int(rows[odd[0]]), "it holds a number that is not finite", _MEND)

    def _unlike(self, wanted: str, got: Any) -> DataError:
        form = f" of shape {got.shape} and type {got.dtype}" if isinstance(got, np.ndarray) else ""
        count = f" of {len(got):,}" if isinstance(got, (list, tuple)) else ""
        message = f"was to give {wanted}, and gave a {type(got).__name__}{form}{count}"
        return DataError(message, key=self._key, value=self._value, mend="See docs/extending.md#a-source")

    def _refused(self, row: int, problem: str, mend: str) -> RowError:
        return RowError(problem, row=row, place=self.place(row), key=self._key, value=self._value, mend=mend)


def _too_large(content: str | bytes, most: int) -> str:
    """How large a row is, in words, where it has more bytes than it may have; a large text is not copied to be told."""
    if len(content) > most:
        return f"{len(content):,} {'bytes' if isinstance(content, bytes) else 'characters'}"
    # No character has more than four bytes.
    if isinstance(content, bytes) or 4 * len(content) <= most:
        return ""
    size = len(content.encode(errors="surrogatepass"))
    return f"{size:,} bytes" if size > most else ""


def _not_text(content: Any) -> str:
    return "" if isinstance(content, str) else f"it is a {type(content).__name__}, not a text"


def _not_bytes(content: Any) -> str:
    return "" if isinstance(content, bytes) else f"it is a {type(content).__name__}, not the bytes of an image"
