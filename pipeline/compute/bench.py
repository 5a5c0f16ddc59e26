"""Bench: one process and all that it can be asked for, whoever asks: an actor, or a driver in the same process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyarrow as pa
import torch

from asvp.alignment import logme, logme_ped
from asvp.compute.busy import BusyTime
from asvp.compute.encoder_lock import EncoderLock
from asvp.compute.evaluation import evaluate
from asvp.compute.heaps import give_back
from asvp.compute.jobs import (
    Arrays,
    EncoderSpec,
    EvaluateJob,
    ExtractionOrder,
    IndicatorJob,
    Job,
    LookJob,
    PackJob,
    PickJob,
    ProxyJob,
    ShardJob,
    ShardReport,
    Trained,
    TrainingOrder,
    VerifyJob,
)
from asvp.compute.looking import look
from asvp.compute.machine import warm_up
from asvp.compute.mates import Mates, Seat
from asvp.compute.model_store import find_model, keep_model
from asvp.compute.packing import pack
from asvp.compute.picking import FindPicker, pick, pick_here
from asvp.compute.proxies import fit, verify
from asvp.compute.residents import Residents
from asvp.compute.session import EncoderSession
from asvp.compute.shard_cache import store_shard, stored_shard
from asvp.config import EncoderConfig
from asvp.data.source import Source
from asvp.errors import CacheError
from asvp.features.feature_set import Features
from asvp.features.moments import Moments
from asvp.features.table import features_of
from asvp.models.encoder import resolve_encoder
from asvp.models.threads import cpu_threads
from asvp.spent import Share, Spent


class Bench:
    """Does jobs in this process; holds one encoder at a time, the last one used.

    Parameters
    ----------
    device : str
        "cpu" or "cuda": where encoders and proxies work.
    find_picker : callable
        Who runs a strategy; this process, unless somebody says otherwise.

    Attributes
    ----------
    device : str
    """

    def __init__(self, device: str = "cpu", find_picker: FindPicker = pick_here) -> None:
        warm_up(device)
        self.device = device
        self._find_picker = find_picker
        self._busy = BusyTime()
        self._residents = Residents(device)
        self._encoder_lock = EncoderLock()
        self._session: tuple[EncoderSpec, EncoderSession] | None = None
        self._source: tuple[str, Source] | None = None
        self._lock = threading.Lock()

    def extract(self, order: ExtractionOrder, job: ShardJob, share: Share) -> tuple[pa.Table, ShardReport]:
        """The table of a shard, out of the cache where it lies there, and what is told of it.

        Thread-safe: with two threads the next shard is read and tokenised while the current one is in the forward pass.
        What needs other weights waits until both are done.
        """
        note = None
        if job.stored is not None:
            try:
                table = stored_shard(job)
            except CacheError as error:
                note = str(error)
            else:
                return table, _report(job, table, reused=True, stored=job.stored)
        weights = order.weights
        fingerprint, load = (None, None) if weights is None else (weights.fingerprint, weights.load)
        with self._encoder_lock.take((order.encoder, fingerprint)), self._busy.measure() as watch:
            session = self._of(order.encoder)
            session.use(fingerprint, load, _threads(share))
            table = session.extract(job, self._source_of(order))
        # Where the cache is late, the next shard is computed meanwhile.
        with self._busy.measure() as writing:
            stored, unwritten = store_shard(job, table)
        spent = share.spent(watch.seconds + writing.seconds)
        return table, _report(job, table, spent=spent, note=note, unwritten=unwritten, stored=stored)

    def train(self, order: TrainingOrder, share: Share, mates: Mates | None = None) -> tuple[Arrays | None, Trained]:
        """The weights of a training, out of the cache where they lie there, and what is told of it.

        What it cost counts the time of each of the mates, who have a share like this one's.
        """
        job, cache, notes = order.job, order.cache, []
        if cache is not None:
            try:
                found = find_model(job, cache)
            except CacheError as error:
                notes.append(f"cache: {error}")
            else:
                if found is not None:
                    head, weights, spent = found
                    return weights, Trained(head, spent, reused=True)
        # Nobody extracts with weights that are being trained.
        with self._encoder_lock.take(object()), self._busy.measure() as watch:
            # A training needs what memory there is; features are read again in less time than it takes.
            self._residents.clear()
            head, weights = self._of(order.encoder).train(job, _threads(share), mates)
        give_back()
        spent = share.spent(watch.seconds).times(1 if mates is None else mates.size)
        if cache is not None:
            try:
                keep_model(job, head, weights, spent, cache)
            except CacheError as error:
                notes.append(f"The model is not cached: {error}")
        return weights, Trained(head, spent, notes=tuple(notes))

    def train_beside(self, order: TrainingOrder, share: Share, seat: Seat) -> None:
        """Take part in one try of a training that another bench does, and counts."""
        with self._encoder_lock.take(object()):
            self._residents.clear()
            self._of(order.encoder).train_beside(order.job, seat, _threads(share))
        give_back()

    def do(self, job: Job, share: Share) -> tuple[Any, tuple[Any, Spent]]:
        """What a job makes to be kept, and (what is told of it, what it cost)."""
        cpus: float | None = None
        kept: Any = None
        told: Any = None
        with self._busy.measure() as watch, cpu_threads(_threads(share)):
            match job:
                case ProxyJob():
                    kept = fit(job, self.device)
                case EvaluateJob():
                    told = evaluate(job.scorer.load(), self._residents.rows_of(job.features), job.labels, job.classes)
                case PickJob():
                    told, cpus = pick(job, self._find_picker, self._residents, self.device)
                case IndicatorJob():
                    told = _read(job)
                case LookJob():
                    told = look(job)
                case VerifyJob():
                    told = verify(job, self.device)
                case PackJob():
                    kept = pack(job)
        held = share if cpus is None else replace(share, cpus=cpus)
        return kept, (told, held.spent(watch.seconds))

    def resolve(self, encoder: EncoderSpec) -> EncoderConfig:
        """What an encoder is on this device, where its configuration says `auto`."""
        return resolve_encoder(encoder.config, encoder.kind, device=self.device)

    def memory(self) -> tuple[int, int]:
        """The most bytes of the device that PyTorch has held here, and all it has; zeros on the CPU."""
        if self.device == "cpu":
            return 0, 0
        return torch.cuda.max_memory_reserved(), torch.cuda.mem_get_info()[1]

    def _of(self, encoder: EncoderSpec) -> EncoderSession:
        with self._lock:
            if self._session is None or self._session[0] != encoder:
                # The one before goes first: two encoders may not fit beside each other.
                self._session = None
                self._session = (encoder, EncoderSession(encoder.config, encoder.kind, device=self.device))
            return self._session[1]

    def _source_of(self, order: ExtractionOrder) -> Source:
        with self._lock:
            if self._source is None or self._source[0] != order.key:
                self._source = (order.key, order.source.load())
            return self._source[1]


_INDICATORS: dict[str, Callable[[Features, Any, Any], float]] = {
    "logme": lambda pool, features, labels: logme(features, labels),
    "logme_ped": lambda pool, features, labels: logme_ped(features, labels, pool.mean, pool.std),
}


def _read(job: IndicatorJob) -> dict[str, float]:
    features = job.features.gather(job.rows)
    return {name: _INDICATORS[name](job.features, features, job.labels) for name in job.names}


def _threads(share: Share) -> int:
    return max(1, int(share.cpus))


def _report(job: ShardJob, table: pa.Table, **told: Any) -> ShardReport:
    features = features_of(table)
    return ShardReport(job.index, len(features), features.shape[1], Moments.of(features), **told)
