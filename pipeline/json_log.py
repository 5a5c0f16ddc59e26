"""News as JSON, a line each, for whoever collects logs: when, of which sweep, trial and round, and what."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

from asvp.progress import PlainReporter, Task


class JsonReporter(PlainReporter):
    """A line of JSON for each piece of news.

    Each has `time` (ISO 8601, UTC) and `event`: "message" with a `text`, "round" with the keys of rounds.jsonl, or
    "progress" with `title`, `done`, `total`, `unit` and `seconds`, now and then and at the end of a piece of work.

    Parameters
    ----------
    ids : mapping of str to str
        What all lines carry, such as {"sweep": its directory}.
    stream : TextIO, optional
        Default: standard error.
    every : float
        Seconds between two lines about the same work.
    """

    def __init__(self, ids: Mapping[str, str], stream: TextIO | None = None, every: float = 5.0) -> None:
        super().__init__(stream, every)
        self._ids = dict(ids)

    def say(self, text: str, **ids: Any) -> None:
        """A message, and what it is about."""
        self._line("message", {"text": text, **ids})

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        """A finished round, of a trial where there are several."""
        self._line("round", {**({} if trial is None else {"trial": trial}), **record})

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        """Yield a task that tells how far it is."""
        task = _JsonTask(self, {"title": title, "total": total, "unit": unit}, self._every)
        yield task
        task.tell()

    def progress(self, told: Mapping[str, Any]) -> None:
        """How far a piece of work is."""
        self._line("progress", told)

    def _line(self, event: str, told: Mapping[str, Any]) -> None:
        stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = {"time": stamp, "event": event, **self._ids, **told}
        super().say(json.dumps(_plain(line), ensure_ascii=False, separators=(",", ":")))


class _JsonTask:
    def __init__(self, reporter: JsonReporter, told: dict[str, Any], every: float) -> None:
        self._reporter, self._told, self._every = reporter, told, every
        self._done = 0
        self._began = self._said = time.monotonic()

    def advance(self, amount: int) -> None:
        """Count, and tell if it is time."""
        self._done += amount
        if time.monotonic() - self._said >= self._every and self._done < self._told["total"]:
            self.tell()

    def tell(self) -> None:
        """How far it is."""
        self._said = time.monotonic()
        self._reporter.progress({**self._told, "done": self._done, "seconds": round(self._said - self._began, 3)})


def _plain(value: Any) -> Any:
    """Numbers that JSON does not know become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return value if isinstance(value, (str, int, bool)) or value is None else str(value)
