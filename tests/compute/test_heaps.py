"""What is freed goes back to the system, and threads share their heaps."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="these calls are glibc's")

HOLES = """
import psutil
from asvp.compute.heaps import give_back

def private():
    return psutil.Process().memory_full_info().uss

before = private()
blocks = [bytes(1000) for _ in range(100_000)]
full = private()
# The last stays, and with it all that lies below.
del blocks[:-1]
freed = private()
give_back()
print(full - before, full - freed, full - private())
"""

THREADS = """
import ctypes, sys, threading
from asvp.compute.heaps import few_heaps

if sys.argv[1] == "few":
    few_heaps(2)
barrier = threading.Barrier(8)

def work():
    blocks = [bytes(1000) for _ in range(100)]
    # All at the same time, or one would have the heap of another that has ended.
    barrier.wait()

threads = [threading.Thread(target=work) for _ in range(8)]
for one in threads:
    one.start()
for one in threads:
    one.join()
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(library.fopen(sys.argv[2].encode(), b"w"))
library.malloc_info(0, file)
library.fclose(file)
"""


def test_pages_between_what_is_held_are_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", HOLES], capture_output=True, text=True, check=True)
    taken, freed, given_back = map(int, done.stdout.split())
    assert taken > 90e6
    assert freed < 0.5 * taken
    assert given_back > 0.8 * taken


def test_threads_share_two_heaps(tmp_path: Path) -> None:
    def heaps(how: str) -> int:
        told = tmp_path / f"{how}.xml"
        subprocess.run([sys.executable, "-c", THREADS, how, str(told)], check=True)
        return told.read_text().count("<heap nr=")

    assert heaps("few") <= 2 < heaps("usual")
