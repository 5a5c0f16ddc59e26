"""The cursor finds any row, from any thread, holds one block a reader, and reads pieces of a store ahead."""

from __future__ import annotations

import gc
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from asvp.data.cursor import Cursor


def cursor_over(lengths: list[int], block: int):
    """A cursor over pieces of these lengths, whose value is the row number, and a log of opened pieces."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    opened: list[int] = []

    def blocks(piece):
        opened.append(piece)
        values = np.arange(offsets[piece], offsets[piece + 1])
        return (values[first : first + block] for first in range(0, len(values), block))

    return Cursor(offsets, blocks), opened


def read(cursor: Cursor, rows: np.ndarray) -> np.ndarray:
    values = np.full(len(rows), -1)
    for positions, block, inside in cursor.gather(rows):
        values[positions] = block[inside]
    return values


@settings(max_examples=50, deadline=None)
@given(st.data(), st.lists(st.integers(0, 9), min_size=1, max_size=6), st.integers(1, 5))
def test_every_request_is_answered_in_its_order(data, lengths, block):
    total = sum(lengths)
    cursor, _ = cursor_over(lengths, block)
    for _ in range(3):
        rows = np.array(
            data.draw(st.lists(st.integers(0, max(total - 1, 0)), max_size=20 if total else 0)), dtype=np.int64
        )
        np.testing.assert_array_equal(read(cursor, rows), rows)


def test_going_forward_opens_a_piece_once_and_going_back_again():
    cursor, opened = cursor_over([10, 10], 3)
    for first in range(0, 20, 2):
        read(cursor, np.array([first, first + 1]))
    assert opened == [0, 1]
    read(cursor, np.array([2]))
    assert opened == [0, 1, 0]


def test_threads_may_share_a_cursor_and_leave_a_pass_unfinished():
    cursor, _ = cursor_over([50, 50], 7)
    unfinished = cursor.gather(np.arange(100))
    next(unfinished)

    def look(seed):
        rows = np.random.default_rng(seed).integers(0, 100, 40)
        return np.array_equal(read(cursor, rows), rows)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(look, range(20)))


def test_two_readers_by_turns_decode_each_piece_once():
    # As one shard's later batches and the next one's first.
    cursor, opened = cursor_over([10, 10, 10], 5)
    for first in range(0, 10, 2):
        for start in (first, first + 10):
            rows = np.arange(start, start + 2)
            np.testing.assert_array_equal(read(cursor, rows), rows)
    assert opened == [0, 1]


def test_the_next_pieces_are_asked_for_before_the_present_one_has_come_and_no_more_than_so_many():
    pieces, ahead = 8, 3
    begun: list[int] = []
    asked = threading.Event()

    def blocks(piece):
        begun.append(piece)
        if len(begun) == ahead:
            asked.set()
        # The first piece does not come before the two behind it are asked for.
        assert asked.wait(30)
        yield np.array([piece])

    visited = Cursor(np.arange(pieces + 1), blocks, ahead).gather(np.arange(pieces))
    for number, (positions, block, inside) in enumerate(visited, 1):
        assert (positions.tolist(), block.tolist(), inside.tolist()) == ([number - 1], [number - 1], [0])
        assert len(begun) <= number + ahead
    assert sorted(begun) == list(range(pieces))


class FiveRows:
    def __len__(self):
        return 5


def test_one_block_is_kept():
    alive = weakref.WeakSet()

    def blocks(_):
        for _ in range(4):
            block = FiveRows()
            alive.add(block)
            yield block

    cursor = Cursor(np.array([0, 20]), blocks)
    for visited in cursor.gather(np.arange(20)):
        del visited
        gc.collect()
        # One is held by the cursor, one by the pass that is under way.
        assert len(alive) <= 2
