"""The plan of an extraction: its shards, its key, and the FeatureSet they become."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from asvp.compute.jobs import ShardJob, ShardReport
from asvp.config import ExtractionConfig
from asvp.data.source import Source
from asvp.errors import CacheError, DataError
from asvp.features.cache import Cache, CacheEntry, content_key
from asvp.features.feature_set import FeatureSet, Shard, shard_starts
from asvp.features.moments import Moments, MomentsInOrder
from asvp.progress import Reporter, SilentReporter, Task
from asvp.spent import NOTHING, Span, Spent


@dataclass(frozen=True)
class Extraction:
    """What is extracted, in which shards, under which key.

    Attributes
    ----------
    source : Source
    encoder : str
        Fingerprint of the encoder with the weights and batches it uses.
    version : int
        Of the features.
    title : str
        For a person: "pool" or "test".
    """

    source: Source
    encoder: str
    version: int
    config: ExtractionConfig
    title: str = "rows"

    @cached_property
    def fingerprint(self) -> str:
        """Equal for equal features."""
        return content_key("features", self.encoder, self.source.digest(), self.config.feature_dtype, list(self.starts))

    @cached_property
    def starts(self) -> tuple[int, ...]:
        """First row of each shard, and the number of rows."""
        return shard_starts(len(self.source), self.config.shard_rows)

    def entry(self, cache: Cache | None) -> CacheEntry | None:
        """Where the shards are kept, if they are."""
        return None if cache is None else cache.entry("features", self.fingerprint)

    def jobs(self, entry: CacheEntry | None, say: Callable[[str], None]) -> list[ShardJob]:
        """One job a shard, in row order, those in the cache with the file that holds them."""
        stored: Mapping[str, str] = {}
        if entry is not None:
            try:
                stored = entry.parts()
            except CacheError as error:
                say(f"The cache is not read: {error}")
        bounds = zip(self.starts[:-1], self.starts[1:], strict=True)
        jobs = (
            ShardJob(place, start, stop, self.config.feature_dtype, entry) for place, (start, stop) in enumerate(bounds)
        )
        return [replace(job, stored=stored.get(job.part)) for job in jobs]

    def record(self, entry: CacheEntry | None, reports: Iterable[ShardReport]) -> tuple[Spent, Spent]:
        """Tell the cache what the entry is, and return (cost of the whole work, what of it was spent before)."""
        told = list(reports)
        spent = sum((report.spent for report in told), NOTHING)
        if entry is None:
            return spent, NOTHING
        rows = sum(report.rows for report in told if not report.reused)
        stored = entry.spent()
        if not rows:
            saved = stored or NOTHING
        elif rows == len(self.source):
            saved = NOTHING
        elif stored is not None:
            # Some shards were damaged: the others are what they are of the whole.
            saved = stored.times((len(self.source) - rows) / len(self.source))
        else:
            # Shards left by a run that was killed: they cost what these did.
            saved = spent.times((len(self.source) - rows) / rows)
        total = saved + spent
        entry.describe({**self._description(), "seconds": total.seconds, "spent": total.as_json()})
        return total, saved

    def _description(self) -> dict[str, Any]:
        return {
            "what": f"{self.title} features, version {self.version}",
            "rows": len(self.source),
            "dtype": self.config.feature_dtype,
            "encoder": self.encoder,
        }

    def feature_set(
        self,
        shards: Mapping[int, Shard],
        reports: Mapping[int, ShardReport],
        moments: Moments,
        *,
        spent: Spent = NOTHING,
        saved: Spent = NOTHING,
        spans: tuple[Span, ...] = (),
    ) -> FeatureSet:
        """Put the shards together, in row order whatever the order in which they were made.

        Raises
        ------
        DataError
            If shards differ in width.
        """
        ordered = [reports[index] for index in range(len(self.starts) - 1)]
        widths = sorted({report.dim for report in ordered})
        if len(widths) > 1:
            raise DataError("rows differ in the width of their features", key=self.title, value=widths)
        return FeatureSet(
            version=self.version,
            shards=tuple(shards[index] for index in range(len(ordered))),
            starts=self.starts,
            dim=widths[0],
            dtype=self.config.feature_dtype,
            fingerprint=self.fingerprint,
            moments=moments,
            spent=spent,
            saved=saved,
            spans=spans,
        )


Finished = Callable[[ShardJob, Shard, ShardReport], None]


@dataclass
class _Made:
    """What is known of the shards that are there, in whatever order they came."""

    shards: dict[int, Shard] = field(default_factory=dict)
    reports: dict[int, ShardReport] = field(default_factory=dict)
    moments: MomentsInOrder = field(default_factory=MomentsInOrder)

    def take(self, job: ShardJob, shard: Shard, report: ShardReport) -> None:
        """A shard is finished."""
        assert report.moments is not None
        self.moments.add(job.index, report.moments)
        self.shards[job.index], self.reports[job.index] = shard, replace(report, moments=None)

    @property
    def fits(self) -> bool:
        """Whether the shards are of one width, or at least none of them is to blame on the cache."""
        reports = self.reports.values()
        return len({one.dim for one in reports}) == 1 or not any(one.reused for one in reports)


def extracted(
    extraction: Extraction,
    cache: Cache | None,
    reporter: Reporter,
    tell: Callable[[str], None],
    work: Callable[[Sequence[ShardJob], Finished], tuple[Span, ...]],
) -> FeatureSet:
    """The features of an extraction, its shards made or read by whoever does the work.

    Parameters
    ----------
    tell : callable
        Told what is wrong with the cache.
    work : callable
        Does all jobs, in any order, and tells each one that is finished; gives the times of those who did them.

    Raises
    ------
    DataError
        If a row cannot be read, or its feature is not finite.
    """
    entry = extraction.entry(cache)
    jobs = extraction.jobs(entry, tell)
    made = _Made()
    missing = sum(job.rows for job in jobs if job.stored is None)
    with _progress(extraction, missing, reporter) as bar:

        def finished(job: ShardJob, shard: Shard, report: ShardReport) -> None:
            made.take(job, shard, report)
            if job.stored is None:
                bar.advance(report.rows)

        spans = work(jobs, finished)
        if not made.fits:
            made = _Made()
            tell(f"The cache is not used: shards of features/{extraction.fingerprint} differ in width")
            spans += work([replace(job, stored=None) for job in jobs], finished)
    _tell(made.reports.values(), tell)
    spent, saved = extraction.record(entry, made.reports.values())
    moments = made.moments.all()
    return extraction.feature_set(made.shards, made.reports, moments, spent=spent, saved=saved, spans=spans)


def telling_once(say: Callable[[str], None]) -> Callable[[str], None]:
    """What is to be told of a fault of the cache, so that the fault is said once, of whatever it is told later.

    Parameters
    ----------
    say : callable
        Told "WHAT: FAULT".
    """
    known: set[str] = set()

    def tell(text: str) -> None:
        fault = text.partition(": ")[2] or text
        if fault not in known:
            known.add(fault)
            say(text)

    return tell


def _progress(extraction: Extraction, missing: int, reporter: Reporter) -> AbstractContextManager[Task]:
    """A bar for the rows that are not in the cache; where all are there, nobody has to wait."""
    shown = reporter if missing else SilentReporter()
    bar: AbstractContextManager[Task] = shown.task(f"Extracting {extraction.title} features", missing, "rows")
    return bar


def _tell(reports: Iterable[ShardReport], say: Callable[[str], None]) -> None:
    """Say what is wrong with the cache: each shard that could not be used, and once why none could be written."""
    told = list(reports)
    for note in dict.fromkeys(report.note for report in told if report.note):
        say(f"cache: {note}")
    unwritten = [report.unwritten for report in told if report.unwritten]
    if unwritten:
        say(f"The features are not cached ({len(unwritten)} shards): {unwritten[0]}")
