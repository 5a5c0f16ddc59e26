"""The C library's heaps, in which the memory of a process that trains now and then goes to pieces.

Each thread has a heap of its own by default, and what is freed in it stays there, in holes between what is not. A
worker does one training in this thread and the next in that one, so it would grow with every refresh for a while. Only
glibc has these calls; elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_ARENA_MAX = -8
"""glibc's M_ARENA_MAX."""


def few_heaps(count: int) -> None:
    """Let threads of this process that are still to come share so many heaps."""
    library = _library()
    if library is not None:
        library.mallopt(_ARENA_MAX, count)


def give_back() -> None:
    """Give pages of all heaps that hold nothing back to the system: some 10 ms."""
    library = _library()
    if library is not None:
        library.malloc_trim(0)


@cache
def _library() -> Any:
    """The C library, if it has both calls."""
    try:
        library = ctypes.CDLL(None)
        return library if library.mallopt and library.malloc_trim else None
    except (AttributeError, OSError):
        return None
