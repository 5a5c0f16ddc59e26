"""InProcessBackend: the same work without Ray, for debugging on one machine."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from typing import Literal

import pyarrow as pa

from asvp.compute.extraction import Extraction
from asvp.compute.jobs import FineTuneJob, HeldWeights, TrainedModel, Weights
from asvp.compute.model_store import find_model, keep_model
from asvp.compute.picking import LocalPicker
from asvp.compute.session import EncoderSession, ShardJob, ShardReport
from asvp.compute.shard_cache import load_shards, tell_unwritten
from asvp.config import EncoderConfig
from asvp.data.source import Kind
from asvp.features.cache import Cache
from asvp.features.feature_set import Features, FeatureSet, HeldShard
from asvp.models.encoder import resolve_dtype
from asvp.progress import Reporter
from asvp.selection import Plan


class InProcessBackend:
    """One `EncoderSession` in this process.

    Parameters
    ----------
    config : EncoderConfig
    kind : {"text", "image", "features"}
    cache : Cache, optional
    reporter : Reporter
    """

    def __init__(self, config: EncoderConfig, kind: Kind, cache: Cache | None, reporter: Reporter) -> None:
        self.cpus = float(os.cpu_count() or 1)
        self.gpus = 0.0
        self._config = config
        self._kind: Kind = kind
        self._cache = cache
        self._reporter = reporter

    @cached_property
    def _session(self) -> EncoderSession:
        return EncoderSession(self._config, self._kind)

    def extract(self, extraction: Extraction, weights: Weights | None = None) -> FeatureSet:
        """Features of all rows of a source, out of the cache where they are in it.

        Raises
        ------
        DataError
            If a row cannot be read or its feature is not finite.
        """
        entry = extraction.entry(self._cache)
        tasks = extraction.tasks(entry)
        shards, reports = load_shards(tasks, lambda table, task: HeldShard(table), self._reporter.say)
        missing = [task for task in tasks if task.index not in shards]
        began = time.perf_counter()
        if missing:
            self._session.use(weights.fingerprint if weights else None, weights.load if weights else None)
            rows = sum(task.stop - task.start for task in missing)
            with self._reporter.task(f"Extracting {extraction.title} features", rows, "rows") as bar:
                for table, report in self._extracted(missing, extraction):
                    shards[report.index] = HeldShard(table)
                    reports[report.index] = report
                    bar.advance(report.rows)
            tell_unwritten(reports.values(), self._reporter.say)
        seconds, saved = extraction.record(entry, missing, time.perf_counter() - began)
        return extraction.feature_set(shards, reports, seconds=seconds, saved_seconds=saved)

    def train(self, job: FineTuneJob) -> TrainedModel:
        """Do a job, or look its result up in the cache."""
        found = find_model(job, self._cache, self._reporter)
        if found is not None:
            return found
        head, weights, seconds = self._session.train(job)
        handle = None if weights is None else HeldWeights(job.key, weights)
        trained = TrainedModel(job.key, job.method, head, handle, seconds)
        keep_model(trained, self._cache, self._reporter)
        return trained

    def picker(self, plan: Plan, features: Features, wanted: bool | Literal["auto"]) -> LocalPicker:
        """Here: all rows are in this process."""
        return LocalPicker()

    def dtype(self) -> str:
        """What `encoder.dtype: auto` is here; from here on it is used."""
        if self._config.dtype != "auto" or self._kind == "features":
            return self._config.dtype
        self._config = self._config.model_copy(update={"dtype": resolve_dtype(self._config, self._kind)})
        return self._config.dtype

    def _extracted(self, tasks: Sequence[ShardJob], extraction: Extraction) -> Iterator[tuple[pa.Table, ShardReport]]:
        """Shards in order; the next is read and tokenised while the current one is in the forward pass."""
        with ThreadPoolExecutor(max_workers=2) as pool:
            running: deque[Future[tuple[pa.Table, ShardReport]]] = deque()
            for task in tasks:
                running.append(pool.submit(self._session.extract, task, extraction.source))
                if len(running) == 2:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
