"""How long a worker was busy, with every second counted once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(eq=False)
class Stopwatch:
    """What one piece of work took.

    Attributes
    ----------
    seconds : float
        Known once the work has ended.
    """

    seconds: float = 0.0


class BusyTime:
    """Shares out the busy seconds of a worker among its pieces of work.

    Shards overlap in a worker: one is read while the other is in the forward pass. Such time is shared out evenly
    among the pieces at work, so they add up to the time in which there was work, and none is longer than it took.

    Parameters
    ----------
    clock : callable
        Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._at_work: set[Stopwatch] = set()
        self._since = clock()

    @contextmanager
    def measure(self) -> Iterator[Stopwatch]:
        """Time the block."""
        watch = Stopwatch()
        with self._lock:
            self._share_out()
            self._at_work.add(watch)
        try:
            yield watch
        finally:
            with self._lock:
                self._share_out()
                self._at_work.remove(watch)

    def _share_out(self) -> None:
        """Give each piece at work its part of what has passed since somebody began or ended."""
        now = self._clock()
        for watch in self._at_work:
            watch.seconds += (now - self._since) / len(self._at_work)
        self._since = now
