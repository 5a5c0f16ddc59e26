"""Blocks of rows that one reader has decoded, kept for the readers behind it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np

_BEGUN = 6
"""Blocks that are kept because passes have not come to their end: as many as three readers need, each the block that
its shard begins in and the one that it has come to."""
_SPARSE = 2
"""Blocks that are kept of which rows here and there were asked for."""
_PASSED_BYTES = 512 << 20
"""What blocks may have together of which nobody has asked for a row: a reader further on has passed over them."""


class Block:
    """Consecutive rows of a piece.

    Parameters
    ----------
    piece : int
    first : int
        Number of the first row.
    rows : array
        The rows (n,), of NumPy or Arrow.

    Attributes
    ----------
    size : int
        Bytes in memory.
    behind : iterator of arrays or None
        The blocks behind this one, where decoding has come to here and is not over.
    begun : bool
        Whether somebody has asked for a row of it.
    passing : bool
        Whether a pass has: who reads one row after the other, and will come back for those that follow.
    """

    def __init__(self, piece: int, first: int, rows: Any) -> None:
        self.piece = piece
        self.first = first
        self.rows = rows
        # Of a slice all that it keeps in memory.
        self.size = rows.nbytes if isinstance(rows, np.ndarray) else rows.get_total_buffer_size()
        self.behind: Iterator[Any] | None = None
        self.begun = self.passing = False
        self._unasked = np.ones(len(rows), dtype=bool)

    @property
    def end(self) -> int:
        """The row after the block."""
        return self.first + len(self.rows)

    @property
    def wanted(self) -> bool:
        """Whether there are rows that nobody has asked for, or somebody may go on from here."""
        return self.behind is not None or bool(self._unasked.any())

    def ask(self, inside: np.ndarray, passing: bool) -> None:
        """Rows of these numbers in the block are asked for, by a pass or not."""
        self.begun = True
        self.passing |= passing
        self._unasked[inside] = False

    def go_on(self) -> Iterator[Any]:
        """The blocks behind, of which there must be some; nobody else goes on from here."""
        assert self.behind is not None
        behind, self.behind = self.behind, None
        return behind


class KeptBlocks:
    """Blocks that somebody may still ask for, and the one that was used last.

    An extraction asks for every row once, so that a block goes as soon as all of its rows were asked for. Number and
    size of blocks are limited, and those go first that were not used for the longest time; of those that nobody passes
    through, as labelled rows are asked for, hardly any are kept. Thread-safe.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # In the order of their use, by piece and first row.
        self._blocks: dict[tuple[int, int], Block] = {}

    def find(self, piece: int, row: int) -> Block | None:
        """The block of a piece that holds a row."""
        with self._lock:
            return next((block for block in self._of(piece) if block.first <= row < block.end), None)

    def nearest(self, piece: int, row: int) -> Block | None:
        """The last block before a row of a piece from which one can go on."""
        with self._lock:
            before = (block for block in self._of(piece) if block.behind is not None and block.end <= row)
            return max(before, key=lambda block: block.end, default=None)

    def add(self, block: Block) -> None:
        """Keep a block that was decoded."""
        with self._lock:
            self._use(block)

    def ask(self, block: Block, inside: np.ndarray, passing: bool) -> None:
        """Somebody has rows of a block, which have these numbers in it; see `Block.ask`."""
        with self._lock:
            block.ask(inside, passing)
            self._use(block)

    def _of(self, piece: int) -> Iterator[Block]:
        return (block for block in self._blocks.values() if block.piece == piece)

    def _use(self, block: Block) -> None:
        place = block.piece, block.first
        self._blocks.pop(place, None)
        self._blocks[place] = block
        wanted = [one for one in self._blocks.values() if one.begun and one.wanted]
        passes = [one for one in wanted if one.passing][-_BEGUN:]
        sparse = [one for one in wanted if not one.passing][-_SPARSE:]
        kept = {id(one) for one in (block, *passes, *sparse, *self._passed_over(block))}
        self._blocks = {place: one for place, one in self._blocks.items() if id(one) in kept}

    def _passed_over(self, last: Block) -> Iterator[Block]:
        """Those before the last one that nobody has asked for, as many as there is room for."""
        room = _PASSED_BYTES
        for block in reversed(self._blocks.values()):
            if not block.begun and block is not last:
                room -= block.size
                if room < 0:
                    return
                yield block
