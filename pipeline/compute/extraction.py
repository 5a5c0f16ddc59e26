"""The plan of an extraction: its shards, its key, and the FeatureSet they become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

from asvp.compute.session import ShardJob, ShardReport
from asvp.config import ExtractionConfig
from asvp.data.source import Source
from asvp.errors import DataError
from asvp.features.cache import Cache, CacheEntry, content_key
from asvp.features.feature_set import FeatureSet, Shard, shard_starts
from asvp.features.moments import Moments


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

    def record(self, entry: CacheEntry | None, missing: Sequence[ShardJob], spent: float) -> tuple[float, float]:
        """Tell the cache what the entry is, and return (seconds of the whole work, seconds of it saved).

        Parameters
        ----------
        missing : sequence of ShardJob
            What had to be extracted now.
        spent : float
            Wall seconds that took.
        """
        rows = sum(task.stop - task.start for task in missing)
        if entry is None:
            return spent, 0.0
        stored = entry.seconds()
        if not missing:
            saved = stored or 0.0
        elif stored is not None and rows < len(self.source):
            saved = stored
        else:
            # Shards left by a run that was killed: they cost what these did.
            saved = spent * (len(self.source) - rows) / rows
        total = saved + spent if missing else saved
        entry.describe({**self._description(), "seconds": total})
        return total, saved

    def _description(self) -> dict[str, Any]:
        return {
            "what": f"{self.title} features, version {self.version}",
            "rows": len(self.source),
            "dtype": self.config.feature_dtype,
            "encoder": self.encoder,
        }

    def tasks(self, entry: CacheEntry | None) -> list[ShardJob]:
        """One task a shard, in row order."""
        bounds = zip(self.starts[:-1], self.starts[1:], strict=True)
        return [
            ShardJob(index, start, stop, self.config.feature_dtype, entry) for index, (start, stop) in enumerate(bounds)
        ]

    def feature_set(
        self,
        shards: Mapping[int, Shard],
        reports: Mapping[int, ShardReport],
        *,
        seconds: float = 0.0,
        saved_seconds: float = 0.0,
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
            moments=reduce(Moments.merge, (report.moments for report in ordered)),
            seconds=seconds,
            saved_seconds=saved_seconds,
        )
