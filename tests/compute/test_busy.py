"""Pieces of work that overlap in a worker add up to the time in which there was work."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standing_clock import Clock

from asvp.compute.busy import BusyTime, Stopwatch


def measured(pieces: list[tuple[float, float]]) -> list[float]:
    """Seconds of pieces of work, each from one time to another, done by one worker."""
    clock = Clock()
    busy = BusyTime(clock)
    open_: dict[int, AbstractContextManager[Stopwatch]] = {}
    watches: dict[int, Stopwatch] = {}
    moments = [(stop, 0, number) for number, (_, stop) in enumerate(pieces)]
    moments += [(start, 1, number) for number, (start, _) in enumerate(pieces)]
    for moment, begins, number in sorted(moments):
        clock.now = 100.0 + moment
        if begins:
            open_[number] = busy.measure()
            watches[number] = open_[number].__enter__()
        else:
            open_.pop(number).__exit__(None, None, None)
    assert not open_
    return [watches[number].seconds for number in range(len(pieces))]


def union(pieces: list[tuple[float, float]]) -> float:
    """Length of the union of intervals."""
    total, reached = 0.0, float("-inf")
    for start, stop in sorted(pieces):
        total += max(0.0, stop - max(start, reached))
        reached = max(reached, stop)
    return total


def test_work_alone_takes_what_it_takes_and_idle_time_is_nobodys() -> None:
    assert measured([(0, 3), (10, 14)]) == [3, 4]


@pytest.mark.parametrize(
    ("pieces", "expected"),
    [
        # One begins while the other is at work: the time of both is halved.
        ([(0, 6), (4, 10)], [5, 5]),
        # One inside the other, which loses nothing of what was before.
        ([(0, 10), (5, 7)], [9, 1]),
        ([(0, 10), (0, 10)], [5, 5]),
        ([(0, 9), (0, 9), (3, 6)], [4, 4, 1]),
    ],
)
def test_overlapping_work_shares_its_time(pieces: list[tuple[float, float]], expected: list[float]) -> None:
    assert measured(pieces) == pytest.approx(expected)


INTERVALS = st.tuples(st.floats(0, 100), st.floats(1e-3, 100)).map(lambda pair: (pair[0], pair[0] + pair[1]))


@given(st.lists(INTERVALS, max_size=8))
def test_pieces_add_up_to_their_union_and_none_is_longer_than_it_took(pieces: list[tuple[float, float]]) -> None:
    seconds = measured(pieces)
    assert sum(seconds) == pytest.approx(union(pieces))
    for told, (start, stop) in zip(seconds, pieces, strict=True):
        assert 0 <= told <= (stop - start) * (1 + 1e-9)


def test_work_that_fails_is_measured_and_ended() -> None:
    clock = Clock()
    busy = BusyTime(clock)

    def fail() -> None:
        clock.pass_(7)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), busy.measure() as failed:
        fail()
    with busy.measure() as after:
        clock.pass_(2)
    assert (failed.seconds, after.seconds) == (7, 2)


def test_threads_that_work_at_once_are_one_worker() -> None:
    """Four at the same time: together no longer than from the first beginning to the last end, by the same clock."""
    now = iter(range(1000))
    busy, together = BusyTime(lambda: float(next(now))), threading.Barrier(4)
    watches: list[Stopwatch] = []

    def work() -> None:
        with busy.measure() as watch:
            watches.append(watch)
            together.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The clock is read at the making, four beginnings and four ends; from the first beginning on there was work.
    assert sum(watch.seconds for watch in watches) == pytest.approx(7)
