"""A backend that remembers what it was asked for, and a reporter that remembers what it was told."""

from __future__ import annotations

from typing import Any

from asvp.compute import Extraction, FineTuneJob
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec
from asvp.config import Config
from asvp.features.cache import Cache
from asvp.progress import SilentReporter


class Told(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str, **ids: Any) -> None:
        self.lines.append(text)


class Recording(InProcessBackend):
    """Works in this process, on texts.

    Attributes
    ----------
    calls : list of tuple
        ("extract", title, version) and ("train", method, number of rows), in order.
    jobs : list of FineTuneJob
    """

    def __init__(self, config: Config, cache: Cache | None = None) -> None:
        super().__init__(EncoderSpec(config.encoder, "text"), cache, SilentReporter())
        self.calls: list[tuple[Any, ...]] = []
        self.jobs: list[FineTuneJob] = []

    def extract(self, extraction: Extraction, weights: Any = None) -> Any:
        self.calls.append(("extract", extraction.title, extraction.version))
        return super().extract(extraction, weights)

    def train(self, job: FineTuneJob) -> Any:
        self.calls.append(("train", job.method, len(job.rows)))
        self.jobs.append(job)
        return super().train(job)
