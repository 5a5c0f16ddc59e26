"""InProcessBackend: the same work without Ray, for debugging on one machine."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import torch

from asvp.compute.bench import Bench
from asvp.compute.extraction import Extraction, Finished, extracted, telling_once
from asvp.compute.jobs import (
    Done,
    EncoderSpec,
    ExtractionOrder,
    FineTuneJob,
    Held,
    HeldWeights,
    Job,
    ShardJob,
    ShardReport,
    TrainedModel,
    TrainingOrder,
    Weights,
    shards_at_a_time,
)
from asvp.compute.machine import describe_machine
from asvp.config import EncoderConfig, TrainingConfig
from asvp.errors import ConfigError
from asvp.features.cache import Cache
from asvp.features.feature_set import FeatureSet, HeldShard
from asvp.models.failures import find_device
from asvp.progress import Reporter
from asvp.spent import NOTHING, Share, Span, Spent


class InProcessBackend:
    """One `Bench` in this process, with as many cores as PyTorch has threads, and the first GPU.

    Parameters
    ----------
    encoder : EncoderSpec
    cache : Cache, optional
    reporter : Reporter
    """

    def __init__(self, encoder: EncoderSpec, cache: Cache | None, reporter: Reporter) -> None:
        device = find_device(None).type
        self._share = Share(float(torch.get_num_threads()), 1.0 if device == "cuda" else 0.0)
        self._bench = Bench(device)
        self._encoder = encoder
        self._cache = cache
        self._reporter = reporter
        self._tell = telling_once(reporter.say)
        self._epoch = time.time() - time.perf_counter()

    def extract(self, extraction: Extraction, weights: Weights | None = None) -> FeatureSet:
        """Features of all rows of a source, out of the cache where they are in it.

        Raises
        ------
        DataError
            If a row cannot be read or its feature is not finite.
        """
        order = ExtractionOrder(extraction.fingerprint, Held(extraction.source), self._encoder, weights)

        def work(jobs: Sequence[ShardJob], finished: Finished) -> tuple[Span, ...]:
            began, spent = time.perf_counter(), NOTHING

            def finish() -> None:
                nonlocal spent
                job, future = running.popleft()
                table, report = future.result()
                spent += report.spent
                finished(job, HeldShard(table), report)

            # In order; the next is read and tokenised while the current one is in the forward pass.
            most = shards_at_a_time(self._share, self._encoder.kind)
            with ThreadPoolExecutor(max_workers=most) as pool:
                running: deque[tuple[ShardJob, Future[tuple[pa.Table, ShardReport]]]] = deque()
                for job in jobs:
                    running.append((job, pool.submit(self._bench.extract, order, job, self._share)))
                    if len(running) == most:
                        finish()
                while running:
                    finish()
            return self._spans(began, spent, shards=len(jobs))

        return extracted(extraction, self._cache, self._reporter, self._tell, work)

    def train(self, job: FineTuneJob) -> TrainedModel:
        """Do a job, or look its result up in the cache."""
        began = time.perf_counter()
        weights, told = self._bench.train(TrainingOrder(job, self._encoder, self._cache), self._share)
        for note in told.notes:
            self._tell(note)
        handle = None if weights is None else HeldWeights(job.key, weights)
        spans = self._spans(began, NOTHING if told.reused else told.spent)
        return TrainedModel(job.key, job.method, told.head, handle, told.spent, told.reused, spans=spans)

    def do(self, job: Job) -> Done[Any]:
        """Do a job."""
        began = time.perf_counter()
        kept, (told, spent) = self._bench.do(job, self._share)
        return Done(Held(kept), told, spent, spans=self._spans(began, spent))

    def _spans(self, began: float, spent: Spent, shards: int = 0) -> tuple[Span, ...]:
        """This process, since then."""
        stamps = self._epoch + began, self._epoch + time.perf_counter()
        return (Span((f"{os.getpid()}",), socket.gethostname(), *stamps, spent, shards),)

    def beside(self) -> None:
        """Nobody: this process does one thing after the other."""

    def resolve(self) -> EncoderConfig:
        """What the encoder is here, where its configuration says `auto`; from here on it is used."""
        config = self._encoder.config
        if config.left_open(self._encoder.kind):
            config = self._bench.resolve(self._encoder)
            self._encoder = EncoderSpec(config, self._encoder.kind)
        return config

    def team_size(self, training: TrainingConfig) -> int:
        """One: this process.

        Raises
        ------
        ConfigError
            If several are asked for.
        """
        if training.devices not in (1, "auto"):
            raise ConfigError(
                "one process trains alone",
                key="training.devices",
                value=training.devices,
                mend="Set it to 1 or auto, or leave out --in-process",
            )
        return 1

    def machine(self) -> dict[str, Any]:
        """This machine."""
        return describe_machine(self._bench.device)

    def round_closed(self, record: Mapping[str, Any]) -> None:
        """Nobody collects numbers here."""
