"""Rows of a sequence, read before they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from asvp.data.read_ahead import ReadAhead

_SLICES_AHEAD = 2
_MOST_ROWS = 256
"""Rows that are read at a time, unless a batch is larger: many files of a store are then on their way at once."""
_MOST_BYTES = 64 << 20
"""What such rows may have together, unless a batch has more; measured on those before."""


class RowReader:
    """Reads a sequence from its beginning to its end, some slices ahead of whoever takes the rows.

    Parameters
    ----------
    rows : sequence of str or bytes
        It may read the slices it is asked for, which come one after the other, from one thread.
    part : int
        Rows that are taken at a time; slices are of one part or several.
    """

    def __init__(self, rows: Sequence[Any], part: int) -> None:
        self._rows = rows
        self._part = part
        self._size = 0.0
        self._held: list[Any] = []
        self._slices = ReadAhead(self._read, self._cut(), _SLICES_AHEAD)

    def take(self, count: int) -> list[Any]:
        """The next rows, as many as there still are."""
        while len(self._held) < count:
            self._held += next(self._slices)
        taken, self._held = self._held[:count], self._held[count:]
        return taken

    def _read(self, part: slice) -> Sequence[Any]:
        rows = self._rows[part]
        self._size = max(1.0, sum(map(len, rows)) / len(rows))
        return rows

    def _cut(self) -> Iterator[slice]:
        start = 0
        while start < len(self._rows):
            stop = start + self._part * self._parts_at_once()
            yield slice(start, stop)
            start = stop

    def _parts_at_once(self) -> int:
        """One until it is known how large rows are."""
        rows = min(_MOST_ROWS, int(_MOST_BYTES / self._size)) if self._size else self._part
        return max(1, rows // self._part)
