"""Access to rows that are stored in pieces, in which a pass in row order decodes every block once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from asvp.data.kept_blocks import Block, KeptBlocks
from asvp.data.read_ahead import ReadAhead
from asvp.errors import DataError

Blocks = Callable[[int], Iterator[Any]]

_LOCKS = 16
"""Pieces that may be decoded at a time: more than are ever read ahead."""


class Cursor:
    """Blocks of pieces, and the place in each piece that decoding has come to.

    A request for later rows of the same piece goes on from there, so that a pass in row order decodes every block once,
    whatever the size of the requests. So do several passes side by side, as shards of one piece are read: what one
    passes over is kept for those behind it, within limits (`KeptBlocks`). A request that asks for half of the rows
    between its first and its last belongs to a pass. Only a request for earlier rows that are kept
    no longer opens the piece again. Thread-safe: what two requests need at the same time is decoded by one.

    Parameters
    ----------
    offsets : (P + 1,) int64
        First row of each of P pieces, and the number of rows.
    blocks : callable
        Opens piece p: an iterator of blocks (arrays) that together are its rows in order.
    ahead : int
        Pieces of one request that are begun, side by side, while those before are looked at.
    """

    def __init__(self, offsets: np.ndarray, blocks: Blocks, ahead: int = 0) -> None:
        self._offsets = offsets
        self._blocks = blocks
        self._ahead = ahead
        self._decoding = [threading.Lock() for _ in range(_LOCKS)]
        self._kept = KeptBlocks()

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
        passing = len(wanted) > 0 and 2 * len(wanted) > int(wanted[-1] - wanted[0])
        numbers, firsts = np.unique(pieces, return_index=True)
        at = partial(self._at, passing)
        coming = self._coming(at, list(zip(numbers.tolist(), wanted[firsts].tolist(), strict=True)))
        block: Block | None = None
        done = 0
        while done < len(wanted):
            if block is None or block.piece != pieces[done]:
                block = next(coming)
            else:
                block = at((block.piece, int(wanted[done])))
            upto = int(np.searchsorted(wanted, block.end))
            inside = wanted[done:upto] - block.first
            self._kept.ask(block, inside, passing)
            yield order[done:upto], block.rows, inside
            done = upto

    def _coming(self, at: Callable[[tuple[int, int]], Block], beginnings: list[tuple[int, int]]) -> Iterator[Block]:
        """A block of each piece, that of the first row that is wanted of it."""
        if self._ahead and len(beginnings) > 1:
            return ReadAhead(at, beginnings, self._ahead, self._ahead)
        return map(at, beginnings)

    def _at(self, passing: bool, wanted: tuple[int, int]) -> Block:
        """The block of a piece that holds a row."""
        kept = self._kept.find(*wanted)
        if kept is not None:
            return kept
        # Who comes while another decodes waits, and has its block.
        with self._decoding[wanted[0] % _LOCKS]:
            return self._kept.find(*wanted) or self._decoded(*wanted, passing)

    def _decoded(self, piece: int, row: int, passing: bool) -> Block:
        """The same, decoded after those that are passed over on the way there, which a pass keeps for others."""
        nearest = self._kept.nearest(piece, row)
        if nearest is None:
            first, coming = int(self._offsets[piece]), self._blocks(piece)
        else:
            first, coming = nearest.end, nearest.go_on()
        for rows in coming:
            block = Block(piece, first, rows)
            first = block.end
            if first < self._offsets[piece + 1] and row < first:
                block.behind = coming
            if passing or row < first:
                self._kept.add(block)
            if row < first:
                return block
        message = "a file holds fewer rows than it did when it was opened"
        raise DataError(message, key="data", mend="Start again, and leave the files as they are")
