"""How long a worker was busy, with every second counted once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass
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

    Two shards overlap in a worker: one is read while the other is in the forward pass. What has passed since the last
    piece of work ended belongs to the one that ends now, so the pieces add up to the time in which there was work.

    Parameters
    ----------
    clock : callable
        Returns seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._shared_out = float("-inf")

    @contextmanager
    def measure(self) -> Iterator[Stopwatch]:
        """Time the block."""
        watch, began = Stopwatch(), self._clock()
        try:
            yield watch
        finally:
            with self._lock:
                now = self._clock()
                watch.seconds = max(0.0, now - max(began, self._shared_out))
                self._shared_out = now
