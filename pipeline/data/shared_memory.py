"""Memory that this process and those it started both see, in blocks that are used again."""

from __future__ import annotations

import mmap
import os
import threading
import weakref
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

_SMALLEST = 1 << 20
"""Bytes of a block."""


class SharedMemory:
    """Blocks of bytes in a file that has no name, and is gone with the last process that has it open.

    Thread-safe. Where the system has no such files, as anywhere but on Linux, there are no blocks.

    Attributes
    ----------
    descriptor : int
        Of the file, for the other processes; -1: there is none.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("asvp") if hasattr(os, "memfd_create") else -1
        self._size = 0
        self._free: list[tuple[int, mmap.mmap]] = []
        self._lock = threading.Lock()
        if self.descriptor >= 0:
            weakref.finalize(self, os.close, self.descriptor)

    def take(self, size: int) -> tuple[int, NDArray[np.uint8]] | None:
        """Offset and bytes of a block of at least so many; None: there is none.

        It is used again when nobody holds the bytes any more, nor anything that shows them. Memory is taken for those
        bytes alone that somebody has written.
        """
        if self.descriptor < 0:
            return None
        # Few sizes, so that blocks fit again.
        size = max(_SMALLEST, 1 << (size - 1).bit_length())
        with self._lock:
            place = next((one for one in self._free if len(one[1]) == size), None)
            if place is None:
                place = self._more(size)
            else:
                self._free.remove(place)
        content = np.frombuffer(place[1], np.uint8)
        weakref.finalize(content, self._free.append, place).atexit = False
        return place[0], content

    def _more(self, size: int) -> tuple[int, mmap.mmap]:
        offset, self._size = self._size, self._size + size
        os.ftruncate(self.descriptor, self._size)
        return offset, mmap.mmap(self.descriptor, size, offset=offset)


class SharedBlocks:
    """The same memory in one of the other processes.

    Parameters
    ----------
    descriptor : int
        As `SharedMemory` has it.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._seen: dict[int, mmap.mmap] = {}

    def at(self, offset: int, size: int) -> memoryview:
        """Bytes of a block."""
        found = self._seen.get(offset)
        if found is None:
            found = self._seen[offset] = mmap.mmap(self._descriptor, size, offset=offset)
        return memoryview(found)


def stacked(arrays: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Arrays (...) of one shape as one, (n, ...); no copy is made of such as lie side by side in a block."""
    first = arrays[0]
    base = first.base
    if isinstance(base, np.ndarray) and base.ndim == 1 and all(one.base is base for one in arrays):
        start = _address(first)
        places = (start + number * first.nbytes for number in range(len(arrays)))
        if all(one.flags.c_contiguous and _address(one) == place for one, place in zip(arrays, places, strict=True)):
            begin = start - _address(base)
            return base[begin : begin + len(arrays) * first.nbytes].reshape(len(arrays), *first.shape)
    return np.stack(arrays)


def _address(array: NDArray[np.uint8]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address
