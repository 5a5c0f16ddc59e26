"""The last word of a process that cannot go on, and whose work waits inside a library that hears of nothing any more.

Whoever finds that out in another thread tells it here. A command then ends with its line; a notebook, whose process is
not ours to end, has nobody who listens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asvp.errors import AsvpError

_listening: list[Callable[[AsvpError], None]] = []


@contextmanager
def ending_stuck(end: Callable[[AsvpError], None]) -> Iterator[None]:
    """Have somebody told why the work of the block cannot go on, in the thread that has found that out."""
    _listening.append(end)
    try:
        yield
    finally:
        _listening.remove(end)


def end_stuck(error: AsvpError) -> None:
    """Tell whoever listens, the innermost first."""
    for end in reversed(_listening):
        end(error)
