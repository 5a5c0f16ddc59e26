"""Access to rows that are stored in pieces, in which a pass in row order decodes every block once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from asvp.data.read_ahead import ReadAhead
from asvp.errors import DataError

Blocks = Callable[[int], Iterator[Any]]

_KEPT = 2
"""Places that are kept: while one shard is read batch by batch, the first rows of the next are read as well."""


@dataclass
class _Place:
    """Where reading stands: a block of consecutive rows of a piece, and the iterator of those behind it."""

    piece: int
    first: int
    block: Any
    iterator: Iterator[Any]

    @property
    def end(self) -> int:
        """The row after the block."""
        return self.first + (0 if self.block is None else len(self.block))

    def reach(self, row: int) -> bool:
        """Go on to the block with a row that is not before this one; whether the piece has it."""
        while self.block is not None and row >= self.end:
            self.first, self.block = self.end, next(self.iterator, None)
        return self.block is not None


class Cursor:
    """Places where reading stands: pieces, and the block of each that was decoded last.

    A request for later rows of the same piece goes on from there, so that a pass in row order decodes every block once,
    whatever the size of the requests; only a request for earlier rows opens the piece again. Thread-safe: each request
    has a place of its own.

    Parameters
    ----------
    offsets : (P + 1,) int64
        First row of each of P pieces, and the number of rows.
    blocks : callable
        Opens piece p: an iterator of sized blocks (arrays) that together are its rows in order.
    ahead : int
        Pieces of one request of which the first block is read, side by side, while those before are looked at.
    """

    def __init__(self, offsets: np.ndarray, blocks: Blocks, ahead: int = 0) -> None:
        self._offsets = offsets
        self._blocks = blocks
        self._ahead = ahead
        self._lock = threading.Lock()
        self._kept: list[_Place] = []

    def gather(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, Any, np.ndarray]]:
        """Visit rows in stored order.

        Yields
        ------
        positions : (m,) int64
            Where in `rows` these rows were asked for.
        block : array
            The block that holds them.
        inside : (m,) int64
            Their numbers in the block.
        """
        order = np.argsort(rows, kind="stable")
        wanted = rows[order]
        pieces = np.searchsorted(self._offsets, wanted, side="right") - 1
        place = self._nearest(int(pieces[0]), int(wanted[0])) if len(wanted) else None
        coming = self._coming(np.unique(pieces).tolist(), place)
        done = 0
        while done < len(wanted):
            if place is None or place.piece != pieces[done]:
                place = next(coming)
            if not place.reach(int(wanted[done])):
                message = "a file holds fewer rows than it did when it was opened"
                raise DataError(message, key="data", mend="Start again, and leave the files as they are")
            upto = int(np.searchsorted(wanted, place.end))
            yield order[done:upto], place.block, wanted[done:upto] - place.first
            done = upto
        if place is not None:
            self._keep(place)

    def _coming(self, pieces: list[int], place: _Place | None) -> Iterator[_Place]:
        """The beginnings of pieces, but for one where reading stands already."""
        left = [piece for piece in pieces if place is None or piece != place.piece]
        if self._ahead and len(left) > 1:
            return ReadAhead(self._open, left, self._ahead, self._ahead)
        return map(self._open, left)

    def _open(self, piece: int) -> _Place:
        iterator = self._blocks(piece)
        return _Place(piece, int(self._offsets[piece]), next(iterator, None), iterator)

    def _nearest(self, piece: int, row: int) -> _Place | None:
        """The place in this piece that is the nearest before a row; it is nobody else's until it is kept again."""
        with self._lock:
            before = [place for place in self._kept if place.piece == piece and place.first <= row]
            if before:
                found = max(before, key=lambda place: place.first)
                self._kept.remove(found)
                return found
            # Reading has come from the end of the piece before: nobody goes on from there.
            self._kept = [place for place in self._kept if place.end != row]
            return None

    def _keep(self, place: _Place) -> None:
        with self._lock:
            self._kept = [*self._kept, place][-_KEPT:]
