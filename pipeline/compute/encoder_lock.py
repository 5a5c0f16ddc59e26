"""Who may use a worker's encoder: work that needs the same weights together, other work after it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class EncoderLock:
    """Lets work in together that needs one thing in the same state; the rest waits until it is done."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._state: object = None
        self._inside = 0

    @contextmanager
    def take(self, state: object) -> Iterator[None]:
        """Wait until nobody needs another state, which nobody is given inside the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._inside == 0 or self._state == state)
            self._state = state
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()
