"""What fuzzing tests share: their settings, a watch for hangs, and bytes that were damaged."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SECONDS = 60
"""Far more than any example takes; what takes longer is stuck."""


def fuzzed(examples: int) -> settings:
    """The same examples every time, as many as are asked for."""
    return settings(
        derandomize=True,
        deadline=None,
        max_examples=examples,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture, HealthCheck.data_too_large],
    )


class Stuck(BaseException):
    """What took so long that it will not end; nothing that is tested catches it."""


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail where the block is stuck."""

    def stuck(number: int, frame: FrameType | None) -> None:
        raise Stuck

    before = signal.signal(signal.SIGALRM, stuck)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below a folder, with its size and time of change."""
    found = ((path, path.lstat()) for path in sorted(folder.rglob("*")))
    return {str(path.relative_to(folder)): (stat.st_size, stat.st_mtime_ns) for path, stat in found if path.is_file()}


@st.composite
def damages(draw: st.DrawFn) -> list[tuple[str, float, bytes]]:
    """Up to three changes to some bytes: what is done, at which share of them, and with what."""
    kinds = st.sampled_from(["cut", "put", "over", "drop", "flip", "double"])
    special = [
        b"\x00",
        b"\xff",
        b"\n",
        b'"',
        b",",
        b"{",
        b"[" * 50_000,
        b'{"a":' * 20_000,
        b"-1",
        b"1e999",
        b"9" * 5000,
    ]
    content = st.sampled_from(special) | st.binary(min_size=1, max_size=8)
    return draw(st.lists(st.tuples(kinds, st.floats(0, 1), content), min_size=1, max_size=3))


def damaged(content: bytes, changes: list[tuple[str, float, bytes]]) -> bytes:
    """Some bytes with such changes."""
    for kind, share, other in changes:
        at = int(share * len(content))
        if kind == "cut":
            content = content[:at]
        elif kind == "put":
            content = content[:at] + other + content[at:]
        elif kind == "over":
            content = content[:at] + other + content[at + len(other) :]
        elif kind == "drop":
            content = content[:at] + content[at + len(other) :]
        elif kind == "flip" and content:
            place = min(at, len(content) - 1)
            content = content[:place] + bytes([content[place] ^ (1 << other[0] % 8)]) + content[place + 1 :]
        elif kind == "double":
            content = content[:at] + content[at // 2 :]
    return content
