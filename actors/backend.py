"""PoolBackend: a driver's work done by the workers of a pool, results in the object store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import replace
from typing import Any

import ray

from asvp.actors.broker import Grant
from asvp.actors.cluster import cluster, has_several_nodes
from asvp.actors.desk import Desk
from asvp.actors.extraction import ShardRun, likes
from asvp.actors.metrics import count_round
from asvp.actors.placing import placed, team_here
from asvp.actors.pool import Pool, worker_pool
from asvp.actors.runs import Runs
from asvp.actors.shards import ObjectStoreShard, ObjectStoreValue, ObjectStoreWeights
from asvp.actors.team import TeamMeasurement
from asvp.compute.extraction import Extraction, Finished, extracted, telling_once
from asvp.compute.jobs import (
    Done,
    EncoderSpec,
    ExtractionOrder,
    FineTuneJob,
    Job,
    Pickled,
    ProxyJob,
    ShardJob,
    TrainedModel,
    TrainingOrder,
    Weights,
)
from asvp.compute.probe import Probe
from asvp.config import EncoderConfig, TrainingConfig, WorkersConfig
from asvp.data.source import pieces_of
from asvp.features.cache import Cache
from asvp.features.feature_set import Features, FeatureSet
from asvp.progress import Reporter
from asvp.spent import NOTHING, Span, Spent

_EVERY = 1 << 16
"""More workers than any node has: a job that uses whatever cores it can get."""


class PoolBackend:
    """What one driver has done by a pool.

    Parameters
    ----------
    pool : Pool
    encoder : EncoderSpec
    cache : Cache, optional
    reporter : Reporter
    name : str, optional
        The driver's.
    """

    def __init__(
        self, pool: Pool, encoder: EncoderSpec, cache: Cache | None, reporter: Reporter, name: str | None = None
    ) -> None:
        self._desk = Desk(pool.broker, reporter, name)
        self._urgent = True
        self._pool = pool
        self._encoder = encoder
        self._cache = cache
        self._reporter = reporter
        self._tell = telling_once(reporter.say)

    def extract(self, extraction: Extraction, weights: Weights | None = None) -> FeatureSet:
        """Features of all rows of a source, out of the cache where they are in it.

        Raises
        ------
        DataError
            If a row cannot be read or its feature is not finite.
        WorkError
            If workers keep dying.
        """
        source = ObjectStoreValue(ray.put(extraction.source))
        order = ExtractionOrder(extraction.fingerprint, source, self._encoder, weights)

        def work(jobs: Sequence[ShardJob], finished: Finished) -> tuple[Span, ...]:
            missing = sum(job.rows for job in jobs if job.stored is None)
            team = TeamMeasurement(
                self._desk, self._pool.placement, self._pool.alternatives, self._cache, self._reporter
            )
            width = team.threads(extraction, order, missing)
            runs = Runs(jobs, pieces_of(extraction.source))
            return ShardRun(self._desk, order, runs, finished, width=width, urgent=self._urgent).run()

        with self._desk.once(extraction.fingerprint if self._cache else None, urgent=self._urgent):
            return extracted(extraction, self._cache, self._reporter, self._tell, work)

    def train(self, job: FineTuneJob) -> TrainedModel:
        """Do a job, or look its result up in the cache.

        Raises
        ------
        WorkError
            If workers keep dying of it.
        """
        order = TrainingOrder(job.sent(), self._encoder, self._cache)

        def call(grant: Grant) -> Sequence[Any]:
            train = grant.worker.train.options(num_returns=2)
            references: Sequence[Any] = train.remote(order, grant.share, grant.beside)
            return references

        with self._desk.once(job.key if self._cache else None, urgent=self._urgent):
            (weights, _), told, turn = self._desk.with_worker(
                call,
                job.title,
                job.mend,
                urgent=self._urgent,
                width=_EVERY,
                likes=likes(self._encoder, None),
                team=job.team,
            )
        for note in told.notes:
            self._tell(note)
        handle = None if job.method == "lp" else ObjectStoreWeights(job.key, weights, self._cache)
        spans = charged(turn.spans, NOTHING if told.reused else told.spent)
        return TrainedModel(job.key, job.method, told.head, handle, told.spent, told.reused, turn.waited, spans)

    def do(self, job: Job) -> Done[Any]:
        """Do a job."""

        def call(grant: Grant) -> Sequence[Any]:
            references: Sequence[Any] = grant.worker.do.options(num_returns=2).remote(job, grant.share)
            return references

        width = 1 if isinstance(job, ProxyJob) else _EVERY
        near = homes(job)
        (kept, _), (told, spent), turn = self._desk.with_worker(
            call, job.title, job.mend, urgent=self._urgent, width=width, near=near
        )
        if isinstance(told, Pickled):
            return Done(told, None, spent, turn.waited, charged(turn.spans, spent))
        return Done(ObjectStoreValue(kept), told, spent, turn.waited, charged(turn.spans, spent))

    def beside(self) -> PoolBackend:
        """The same driver, for work that no loop waits for."""
        other = copy(self)
        other._urgent = False
        return other

    def resolve(self) -> EncoderConfig:
        """What the encoder is where the workers are, where its configuration says `auto`; they use it from here on."""
        config = self._encoder.config
        if config.left_open(self._encoder.kind):
            _, config, _ = self._desk.with_worker(
                lambda grant: [grant.worker.resolve.remote(self._encoder)], "looked at the device", ""
            )
            self._encoder = replace(self._encoder, config=config)
        return config

    def team_size(self, training: TrainingConfig) -> int:
        """How many workers train a model together.

        Raises
        ------
        ConfigError
            If several are asked for, and share GPUs.
        ClusterError
            If no node could hold so many.
        """
        return team_here(training, self._pool.placement)

    def machine(self) -> dict[str, Any]:
        """What the workers work on; it is told where they hold GPUs for nothing."""
        machine = self._desk.machine()
        if self._pool.placement.gpus and not machine.get("gpus"):
            self._reporter.say(
                f"Warning: each worker holds {self._pool.placement.share}, but PyTorch sees no GPU there, so they "
                "compute on the CPU; install a PyTorch for the GPUs of the nodes, or set workers.gpus to 0"
            )
        return machine

    def round_closed(self, record: Mapping[str, Any]) -> None:
        """Count it, for whoever watches the cluster."""
        count_round(record)

    def close(self) -> None:
        """Leave the pool."""
        self._desk.close()


@contextmanager
def pool_backend(
    workers: WorkersConfig, probe: Probe, cache: Cache | None, reporter: Reporter, address: str | None
) -> Iterator[PoolBackend]:
    """A pool of one driver on a Ray cluster, which is joined or started for as long as it is needed."""
    with ExitStack() as stack:
        stack.enter_context(cluster(address))
        pool = stack.enter_context(worker_pool(*placed(workers, probe, cache, reporter)))
        backend = PoolBackend(pool, probe.encoder, cache, reporter)
        stack.callback(backend.close)
        yield backend


def charged(spans: tuple[Span, ...], spent: Spent) -> tuple[Span, ...]:
    """The spans of a job, of which the last has spent what it cost."""
    return (*spans[:-1], replace(spans[-1], spent=spent))


def homes(job: Job) -> frozenset[str]:
    """Nodes that hold the features that a job reads; nothing where there is only one node."""
    read = (getattr(job, name, None) for name in ("pool", "features", "present"))
    features: Features | None = next((one for one in read if one is not None), None)
    if features is None or not has_several_nodes():
        return frozenset()
    found: dict[Any, Any] = {}
    for part in features.parts:
        # One part has one owner. Asked for objects of several, of which one is dead, Ray 2.60 ends this process.
        references = [shard.reference for shard in part.shards if isinstance(shard, ObjectStoreShard)]
        found |= ray.experimental.get_object_locations(references)
    return frozenset(node for place in found.values() for node in place.get("node_ids", ()))
