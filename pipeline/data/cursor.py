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


_LOCKS = 16
"""Pieces that may be begun at a time: more than are ever read ahead."""


@dataclass
class _Place:
    """Where reading stands: a block of consecutive rows of a piece, and the iterator of those behind it.

    Without an iterator it is a block that another request has decoded, and ends with it.
    """

    piece: int
    first: int
    block: Any
    iterator: Iterator[Any] | None

    @property
    def end(self) -> int:
        """The row after the block."""
        return self.first + (0 if self.block is None else len(self.block))

    def reach(self, row: int) -> bool:
        """Go on to the block with a row that is not before this one; whether there is one."""
        while self.iterator is not None and self.block is not None and row >= self.end:
            self.first, self.block = self.end, next(self.iterator, None)
        return self.block is not None and row < self.end


class Cursor:
    """Places where reading stands: pieces, and the block of each that was decoded last.

    A request for later rows of the same piece goes on from there, so that a pass in row order decodes every block once,
    whatever the size of the requests; only a request for earlier rows opens the piece again. Thread-safe: each request
    has a place of its own, and what two of them begin with at the same time is decoded by one.

    Parameters
    ----------
    offsets : (P + 1,) int64
        First row of each of P pieces, and the number of rows.
    blocks : callable
        Opens piece p: an iterator of sized blocks (arrays) that together are its rows in order.
    ahead : int
        Pieces of one request that are begun, side by side, while those before are looked at.
    """

    def __init__(self, offsets: np.ndarray, blocks: Blocks, ahead: int = 0) -> None:
        self._offsets = offsets
        self._blocks = blocks
        self._ahead = ahead
        self._lock = threading.Lock()
        self._beginnings = [threading.Lock() for _ in range(_LOCKS)]
        self._kept: list[_Place] = []
        self._decoded: dict[int, _Place] = {}

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
        numbers, firsts = np.unique(pieces, return_index=True)
        coming = self._coming(list(zip(numbers.tolist(), wanted[firsts].tolist(), strict=True)))
        place: _Place | None = None
        done = 0
        while done < len(wanted):
            row = int(wanted[done])
            if place is None or place.piece != pieces[done]:
                place = next(coming)
            else:
                if not place.reach(row):
                    place = self._own(place.piece, row)
                self._note(place)
            upto = int(np.searchsorted(wanted, place.end))
            yield order[done:upto], place.block, wanted[done:upto] - place.first
            done = upto
        if place is not None and place.iterator is not None:
            self._keep(place)

    def _coming(self, beginnings: list[tuple[int, int]]) -> Iterator[_Place]:
        """A place in each piece, at the first row that is wanted of it."""
        if self._ahead and len(beginnings) > 1:
            return ReadAhead(self._begin, beginnings, self._ahead, self._ahead)
        return map(self._begin, beginnings)

    def _begin(self, beginning: tuple[int, int]) -> _Place:
        piece, row = beginning
        # Who comes while another decodes waits, and has its block.
        with self._beginnings[piece % _LOCKS]:
            decoded = self._decoded.get(piece)
            if decoded is not None and decoded.first <= row < decoded.end:
                return decoded
            place = self._own(piece, row)
            self._note(place)
        return place

    def _own(self, piece: int, row: int) -> _Place:
        """A place at this row that is nobody else's until it is kept again."""
        place = self._nearest(piece, row) or self._open(piece)
        if not place.reach(row):
            message = "a file holds fewer rows than it did when it was opened"
            raise DataError(message, key="data", mend="Start again, and leave the files as they are")
        return place

    def _open(self, piece: int) -> _Place:
        iterator = self._blocks(piece)
        return _Place(piece, int(self._offsets[piece]), next(iterator, None), iterator)

    def _nearest(self, piece: int, row: int) -> _Place | None:
        """The place in this piece that is the nearest before a row."""
        with self._lock:
            before = [place for place in self._kept if place.piece == piece and place.first <= row]
            if before:
                found = max(before, key=lambda place: place.first)
                self._kept.remove(found)
                return found
            # Reading has come from the end of the piece before: nobody goes on from there.
            self._kept = [place for place in self._kept if place.end != row]
            return None

    def _note(self, place: _Place) -> None:
        """Let others have the block, which is the last of its piece that was decoded."""
        with self._lock:
            self._decoded.pop(place.piece, None)
            self._decoded[place.piece] = _Place(place.piece, place.first, place.block, None)
            while len(self._decoded) > _KEPT:
                del self._decoded[next(iter(self._decoded))]

    def _keep(self, place: _Place) -> None:
        with self._lock:
            self._kept = [*self._kept, place][-_KEPT:]
