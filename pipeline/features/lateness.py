"""How long this process waits for the stores of caches: what answers, but late, holds up work without failing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asvp.progress import SAY_AFTER_SECONDS
from asvp.redaction import redact

_SLOW_SECONDS = 1.0
"""A call that takes less is none that anybody waits for: it may be one of thousands on a disk."""
_LOOKS = 10
"""In the time after which a person is told."""


class _Calls:
    """Those under way in this process, and what the slow ones have taken so far, with every second counted once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[object, tuple[float, str]] = {}
        self._waited = 0.0
        self._until = 0.0
        self._latest = ""

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """A call that is waited for as long as the block lasts."""
        call, begun = object(), time.monotonic()
        with self._lock:
            self._under_way[call] = begun, what
        try:
            yield
        finally:
            with self._lock:
                del self._under_way[call]
                self._count(begun, what)

    def so_far(self) -> tuple[float, str]:
        """Seconds waited since this process began, and what for, the last time."""
        with self._lock:
            for begun, what in sorted(self._under_way.values()):
                self._count(begun, what)
            return self._waited, self._latest

    def _count(self, begun: float, what: str) -> None:
        now = time.monotonic()
        if now - begun >= min(_SLOW_SECONDS, SAY_AFTER_SECONDS / _LOOKS):
            self._waited += now - max(begun, self._until)
            self._until, self._latest = now, what


_CALLS = _Calls()
waiting = _CALLS.waiting


class Lateness:
    """Finds out, from one look to the next, whether somebody has to be told that stores are late."""

    def __init__(self) -> None:
        self._since, self._before = time.monotonic(), _CALLS.so_far()[0]

    def look(self) -> str:
        """What is waited for, if more than half of the time went by so, and it has been long; else nothing."""
        waited, what = _CALLS.so_far()
        late, now = waited - self._before, time.monotonic()
        long = late >= SAY_AFTER_SECONDS
        if long or now - self._since > 2 * SAY_AFTER_SECONDS:
            passed, self._since, self._before = now - self._since, now, waited
            if long:
                return f"The cache answers late: {late:.0f} of {passed:.0f} s were waited for it, now {redact(what)}"
        return ""


@contextmanager
def telling_lateness(say: Callable[[str], None]) -> Iterator[None]:
    """Have somebody told, while the block lasts, what this process waits for."""
    over, late = threading.Event(), Lateness()

    def look() -> None:
        while not over.wait(SAY_AFTER_SECONDS / _LOOKS):
            told = late.look()
            if told:
                say(told)

    threading.Thread(target=look, name="asvp lateness of the cache", daemon=True).start()
    try:
        yield
    finally:
        over.set()
