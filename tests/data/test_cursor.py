"""The cursor finds any row, from any thread, decodes blocks once for all readers, and reads pieces of a store ahead."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asvp.data import kept_blocks
from asvp.data.cursor import Cursor
from asvp.errors import DataError


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


def counting_cursor(lengths: list[int], block: int):
    """As `cursor_over`, with a log of the first rows of decoded blocks, and the first rows of all blocks."""
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    firsts = [
        range(first, stop, block) for first, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    decoded: list[int] = []

    def blocks(piece):
        for first in firsts[piece]:
            decoded.append(first)
            yield np.arange(first, min(first + block, offsets[piece + 1]))

    return Cursor(offsets, blocks), decoded, [first for piece in firsts for first in piece]


def read_shards(cursor: Cursor, rows: int, shard: int, part: int, at_a_time: int, turn: Callable[[int, int], int]):
    """Read all rows as shards that are under way side by side, of which another begins when the first one has ended.

    By the number of the turn, and that of shards with rows left, `turn` says which one reads its next part.
    """
    waiting = [list(range(first, min(first + shard, rows))) for first in range(0, rows, shard)]
    under_way: list[list[int]] = []
    turns = count()
    while waiting or under_way:
        while waiting and len(under_way) < at_a_time:
            under_way.append(waiting.pop(0))
        reading = [one for one in under_way if one]
        one = reading[turn(next(turns), len(reading))]
        wanted = np.array(one[:part])
        np.testing.assert_array_equal(read(cursor, wanted), wanted)
        del one[:part]
        while under_way and not under_way[0]:
            del under_way[0]


TURNS = {
    "the first goes on": lambda number, count: 0,
    "the last goes on": lambda number, count: count - 1,
    "each in turn": lambda number, count: number % count,
}


@pytest.mark.parametrize("turn", TURNS.values(), ids=TURNS.keys())
@pytest.mark.parametrize("at_a_time", [1, 2, 3])
@pytest.mark.parametrize("shard", [16, 24, 100])
def test_shards_side_by_side_in_one_piece_of_several_blocks_decode_each_once(shard, at_a_time, turn):
    cursor, decoded, firsts = counting_cursor([400], 10)
    read_shards(cursor, 400, shard, 8, at_a_time, turn)
    assert decoded == firsts


@settings(max_examples=100, deadline=None)
@given(st.data(), st.lists(st.integers(0, 60), min_size=1, max_size=4), st.integers(1, 12))
def test_shards_by_whatever_turns_decode_each_block_of_all_pieces_once(data, lengths, block):
    cursor, decoded, firsts = counting_cursor(lengths, block)
    shard, part, at_a_time = (data.draw(st.integers(1, most)) for most in (40, 20, 3))
    read_shards(cursor, sum(lengths), shard, part, at_a_time, lambda _, count: data.draw(st.integers(0, count - 1)))
    assert sorted(decoded) == firsts


def test_threads_side_by_side_in_one_piece_decode_each_block_once():
    cursor, decoded, firsts = counting_cursor([300], 7)

    def shard(first):
        for start in range(first, first + 50, 5):
            rows = np.arange(start, start + 5)
            np.testing.assert_array_equal(read(cursor, rows), rows)

    with ThreadPoolExecutor(3) as threads:
        list(threads.map(shard, range(0, 300, 50)))
    assert decoded == firsts


def test_where_the_blocks_passed_over_do_not_fit_they_are_decoded_again(monkeypatch):
    # Three of 80 bytes, where a shard has ten.
    monkeypatch.setattr(kept_blocks, "_PASSED_BYTES", 240)
    cursor, decoded, firsts = counting_cursor([400], 10)
    read_shards(cursor, 400, 100, 8, 2, TURNS["each in turn"])
    assert set(decoded) == set(firsts)
    assert len(firsts) < len(decoded) <= 2 * len(firsts)


def test_a_piece_whose_reading_failed_is_read_from_its_beginning():
    fails = [True]

    def blocks(_):
        yield np.arange(5)
        if fails:
            fails.clear()
            raise OSError("the store is gone")
        yield np.arange(5, 10)

    cursor = Cursor(np.array([0, 10]), blocks)
    read(cursor, np.array([0]))
    with pytest.raises(OSError, match="the store is gone"):
        read(cursor, np.array([7]))
    assert read(cursor, np.array([7, 2])).tolist() == [7, 2]


def test_a_piece_with_fewer_rows_than_it_had_is_an_error():
    cursor = Cursor(np.array([0, 10]), lambda _: iter([np.arange(5)]))
    assert read(cursor, np.array([4])).tolist() == [4]
    with pytest.raises(DataError, match="fewer rows"):
        read(cursor, np.array([5]))


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

    def get_total_buffer_size(self):
        return 40


def cursor_over_fives(pieces: int, blocks: int):
    """A cursor over pieces of blocks of five rows, and the blocks that are in memory."""
    alive = weakref.WeakSet()

    def opened(_):
        for _ in range(blocks):
            block = FiveRows()
            alive.add(block)
            yield block

    return Cursor(np.arange(pieces + 1) * 5 * blocks, opened), alive


def rows_of(cursor: Cursor, rows: np.ndarray) -> int:
    """How many come."""
    return sum(len(inside) for _, _, inside in cursor.gather(rows))


def test_one_block_is_kept():
    cursor, alive = cursor_over_fives(1, 4)
    for visited in cursor.gather(np.arange(20)):
        del visited
        gc.collect()
        # One is held by the cursor, one by the pass that is under way.
        assert len(alive) <= 2
    gc.collect()
    assert len(alive) == 1


@pytest.mark.parametrize("blocks", [1, 3])
def test_of_blocks_with_rows_that_nobody_comes_back_for_the_last_six_are_kept(blocks):
    cursor, alive = cursor_over_fives(12, blocks)
    for piece in range(12):
        rows_of(cursor, np.array([piece * 5 * blocks]))
        assert len(alive) == min(piece + 1, 6)


def test_of_blocks_of_which_rows_here_and_there_are_asked_for_two_are_kept_and_none_that_are_passed_over():
    cursor, alive = cursor_over_fives(3, 20)
    for piece in range(3):
        for first in range(100 * piece, 100 * piece + 60, 25):
            # Two rows, and eight blocks between them.
            assert rows_of(cursor, np.array([first, first + 40])) == 2
            gc.collect()
            assert len(alive) <= 3


def test_blocks_passed_over_are_kept_until_their_rows_were_asked_for():
    cursor, alive = cursor_over_fives(1, 20)
    rows_of(cursor, np.arange(95, 100))
    assert len(alive) == 20
    for block in range(19):
        rows_of(cursor, np.arange(5 * block, 5 * block + 5))
        # This one, which was used last, and those behind it but the twentieth.
        assert len(alive) == 19 - block


def test_blocks_passed_over_are_kept_as_far_as_there_is_room(monkeypatch):
    monkeypatch.setattr(kept_blocks, "_PASSED_BYTES", 7 * 40)
    cursor, alive = cursor_over_fives(5, 20)
    for piece in range(5):
        rows_of(cursor, np.array([100 * piece + 98]))
        # Besides those that somebody has asked for.
        assert len(alive) == 7 + piece + 1
