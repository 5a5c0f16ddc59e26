"""Random access to rows that are stored in pieces, with one decoded block kept at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from asvp.errors import DataError

Blocks = Callable[[int], Iterator[Any]]


class Cursor:
    """The place where reading stands: a piece, and the block of consecutive rows of it that was decoded last.

    A request for later rows of the same piece goes on from there, so that a pass in row order decodes every block once,
    whatever the size of the requests; only a request for earlier rows opens the piece again.

    Parameters
    ----------
    offsets : (P + 1,) int64
        First row of each of P pieces, and the number of rows.
    blocks : callable
        Opens piece p: an iterator of sized blocks (arrays) that together are its rows in order.
    """

    def __init__(self, offsets: np.ndarray, blocks: Blocks) -> None:
        self._offsets = offsets
        self._blocks = blocks
        self._lock = threading.Lock()
        self._piece = -1
        self._first = 0
        self._block: Any = None
        self._iterator: Iterator[Any] = iter(())

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
        done = 0
        while done < len(wanted):
            # Locked for one step only: a generator that nobody finishes would hold a lock for ever.
            with self._lock:
                first, block = self._find(int(wanted[done]))
            upto = int(np.searchsorted(wanted, first + len(block)))
            yield order[done:upto], block, wanted[done:upto] - first
            done = upto

    def _find(self, row: int) -> tuple[int, Any]:
        """The block with this row, and its first row."""
        piece = int(np.searchsorted(self._offsets, row, side="right")) - 1
        if piece != self._piece or row < self._first:
            self._reset()
            self._iterator = self._blocks(piece)
            self._piece, self._first = piece, int(self._offsets[piece])
        try:
            while self._block is None or row >= self._first + len(self._block):
                self._first += len(self._block) if self._block is not None else 0
                self._block = next(self._iterator, None)
                if self._block is None:
                    message = "a file holds fewer rows than it did when it was opened"
                    raise DataError(message, key="data", mend="Start again, and leave the files as they are")
        except BaseException:
            self._reset()
            raise
        return self._first, self._block

    def _reset(self) -> None:
        self._piece, self._first, self._block, self._iterator = -1, 0, None, iter(())
