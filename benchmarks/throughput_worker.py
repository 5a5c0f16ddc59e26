"""Extraction as a worker does it, without a pool."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from asvp.compute import Extraction
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec
from asvp.config import ExtractionConfig
from asvp.progress import SilentReporter


class Listed:
    """A source of rows that lie in memory, some of them many times.

    Parameters
    ----------
    kind : {"text", "image"}
    contents : list of str or bytes
    rows : int
    """

    def __init__(self, kind: str, contents: list[Any], rows: int) -> None:
        self.kind = kind
        self._contents = contents
        self._rows = rows

    def __len__(self) -> int:
        return self._rows

    def take(self, rows: Any) -> list[Any]:
        """The contents of some rows."""
        return [self._contents[row % len(self._contents)] for row in rows.tolist()]

    def place(self, row: int) -> str:
        """For messages."""
        return f"row {row}"

    def digest(self) -> str:
        """There is one alone, and no cache."""
        return "benchmark"


def as_a_worker(encoder: EncoderSpec, source: Any, shard: int) -> Callable[[], Any]:
    """What extracts all rows of a source, with as many shards at a time in its `Bench` as a worker has.

    Shards are handed out in this process, so what Ray takes for that does not count.

    Parameters
    ----------
    encoder : EncoderSpec
    source : Source
        N rows.
    shard : int
        Rows of a shard.
    """
    backend = InProcessBackend(encoder, None, SilentReporter())
    extraction = Extraction(source, "benchmark", 0, ExtractionConfig(shard_rows=shard, cache=None))
    return lambda: backend.extract(extraction)
