"""RayBackend: the encoder's work done by actors, results in the object store."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import ray
from ray.exceptions import RayTaskError

from asvp.actors.cluster import cluster, node_cores, nodes, patiently
from asvp.actors.extraction import Member, extract_shards, team_rate
from asvp.actors.selection import SelectionTeam
from asvp.actors.shards import DIED, ObjectStoreShard, unwrap
from asvp.actors.worker import Worker
from asvp.compute.extraction import Extraction
from asvp.compute.jobs import Arrays, FineTuneJob, TrainedModel, Weights
from asvp.compute.measured_placement import (
    Measurement,
    alternatives,
    compare,
    fewest_rows,
    memory,
    recall,
    remember,
    sample,
    stand_ins,
)
from asvp.compute.model_store import find_model, keep_model
from asvp.compute.picking import Picker
from asvp.compute.placement import Placement, place
from asvp.compute.session import ShardJob, ShardReport
from asvp.compute.shard_cache import load_shards, tell_unwritten
from asvp.config import Config, EncoderConfig
from asvp.data.source import Kind
from asvp.errors import WorkError
from asvp.features.cache import Cache
from asvp.features.feature_set import Features, FeatureSet, Shard
from asvp.models.encoder import resolve_dtype
from asvp.progress import Reporter
from asvp.selection import Plan


@dataclass(frozen=True)
class ObjectStoreWeights:
    """Weights in the object store."""

    fingerprint: str
    reference: Any

    def load(self) -> Arrays:
        """The weights, as views on the store of this node."""
        arrays: Arrays = ray.get(self.reference)
        return arrays


_Opened = Callable[[Any, int], Member]
"""Opens an actor for an extraction with so many CPU threads."""


@ray.remote(max_retries=3)
def _resolve_dtype(config: EncoderConfig, kind: Kind) -> str:
    return resolve_dtype(config, kind)


class RayBackend:
    """A team of `Worker` actors, started when first needed and let go by dropping their handles.

    Parameters
    ----------
    config : EncoderConfig
    kind : {"text", "image", "features"}
    placement : Placement
    cache : Cache, optional
    reporter : Reporter
    alternatives : sequence of Placement
        Teams of which one takes the place of `placement` if it is measured, or known, to extract faster.
    """

    def __init__(
        self,
        config: EncoderConfig,
        kind: Kind,
        placement: Placement,
        cache: Cache | None,
        reporter: Reporter,
        alternatives: Sequence[Placement] = (),
    ) -> None:
        self._config = config
        self._kind = kind
        self._placement = placement
        self._cache = cache
        self._reporter = reporter
        self._alternatives = () if kind == "features" else tuple(alternatives)
        self._team: list[Any] = []
        self._selection = SelectionTeam(self.cpus)

    @property
    def cpus(self) -> float:
        """CPU cores the whole team holds."""
        return self._placement.cpus * self._placement.workers

    @property
    def gpus(self) -> float:
        """GPUs the whole team holds."""
        return self._placement.gpus * self._placement.workers

    def extract(self, extraction: Extraction, weights: Weights | None = None) -> FeatureSet:
        """Features of all rows of a source, out of the cache where they are in it.

        Raises
        ------
        DataError
            If a row cannot be read or its feature is not finite.
        WorkError
            If workers keep dying.
        """
        entry = extraction.entry(self._cache)
        tasks = extraction.tasks(entry)
        # Put by this process, which so owns it; a task for each would start a process for each.
        shards, reports = load_shards(
            tasks, lambda table, task: ObjectStoreShard(ray.put(table), task), self._reporter.say
        )
        missing = [task for task in tasks if task.index not in shards]
        began = time.perf_counter()
        if missing:
            self._extract(extraction, missing, weights, shards, reports)
        seconds, saved = extraction.record(entry, missing, time.perf_counter() - began)
        return extraction.feature_set(shards, reports, seconds=seconds, saved_seconds=saved)

    def train(self, job: FineTuneJob) -> TrainedModel:
        """Do a job on one of the actors, or look its result up in the cache.

        Raises
        ------
        WorkError
            If the worker died, at the second try too.
        """
        found = find_model(job, self._cache, self._reporter)
        if found is not None:
            return found
        for _ in range(2):
            [worker] = self._hired(1)
            weights, told = worker.train.options(num_returns=2).remote(job, self._training_threads())
            try:
                head, seconds = ray.get(told)
            except DIED:
                self._team.remove(worker)
                continue
            except RayTaskError as error:
                raise unwrap(error) from None
            handle = None if job.method == "lp" else ObjectStoreWeights(job.key, weights)
            trained = TrainedModel(job.key, job.method, head, handle, seconds)
            keep_model(trained, self._cache, self._reporter)
            return trained
        raise WorkError(
            "the worker process died twice while it fine-tuned",
            mend="Lower training.batch_size or encoder.max_length if memory ran out",
        )

    def picker(self, plan: Plan, features: Features, wanted: bool | Literal["auto"]) -> Picker:
        """Who runs a strategy on these features: this process, or actors where the shards lie."""
        return self._selection.picker(plan, features, wanted)

    def dtype(self) -> str:
        """What `encoder.dtype: auto` is where the actors run; from here on they use it."""
        if self._config.dtype != "auto" or self._kind == "features":
            return self._config.dtype
        options = {"num_cpus": self._placement.cpus, "num_gpus": self._placement.gpus}
        try:
            asked = _resolve_dtype.options(**options).remote(self._config, self._kind)
            resolved: str = patiently(asked, f"{self._placement.share} to look at the device", self._reporter)
        except RayTaskError as error:
            raise unwrap(error) from None
        self._config = self._config.model_copy(update={"dtype": resolved})
        return resolved

    def close(self) -> None:
        """Let the actors go; their results stay."""
        self._team = []
        self._selection.close()

    def _training_threads(self) -> int:
        """Those of the whole idle team, as far as one node has them."""
        return min(self._placement.all_threads, max(node_cores().values(), default=1))

    def _hired(self, wanted: int) -> list[Any]:
        new = [self._hire() for _ in range(wanted - len(self._team))]
        started = [worker.node.remote() for worker in new]
        for reference in started:
            # One that dies at its start is found, and replaced, where it is given work.
            with suppress(*DIED):
                patiently(reference, f"a worker of {self._placement.share} to start", self._reporter)
        self._team += new
        return self._team[:wanted]

    def _hire(self) -> Any:
        worker = Worker.options(
            num_cpus=self._placement.cpus,
            num_gpus=self._placement.gpus,
            # Two calls at a time: one reads and tokenises its shard while the other is in the forward pass.
            max_concurrency=2,
        )
        return worker.remote(self._config, self._kind, self._placement.threads)

    def _extract(
        self,
        extraction: Extraction,
        tasks: list[ShardJob],
        weights: Weights | None,
        shards: dict[int, Shard],
        reports: dict[int, ShardReport],
    ) -> None:
        opened = _opener(extraction, weights)
        rows = sum(task.stop - task.start for task in tasks)
        self._settle(extraction, rows, opened)
        with self._reporter.task(f"Extracting {extraction.title} features", rows, "rows") as bar:

            def done(task: ShardJob, shard: ObjectStoreShard, report: ShardReport) -> None:
                shards[task.index] = shard
                reports[task.index] = report
                bar.advance(report.rows)

            threads = self._placement.threads
            team = [opened(worker, threads) for worker in self._hired(min(self._placement.workers, len(tasks)))]
            hire = partial(self._hire_opened, opened, threads)
            extract_shards(team, hire, extraction.fingerprint, tasks, done)
            self._team[: len(team)] = [member.worker for member in team]
        tell_unwritten(reports.values(), self._reporter.say)

    def _settle(self, extraction: Extraction, rows: int, opened: _Opened) -> None:
        """Take the team that extracts fastest, where that is known of this encoder and machine or worth measuring."""
        if not self._alternatives:
            return
        cores = node_cores()
        teams = (self._placement, *self._alternatives)
        entry = memory(self._cache, self._config, self._kind, list(cores.values()))
        measured, how = recall(entry, teams), "measured before"
        if measured is None and rows >= fewest_rows(teams):
            measured, how = self._measure(extraction, teams, cores, opened), "measured"
        if measured is None:
            return
        remember(entry, measured, self._config)
        self._reporter.say(f"Extraction by {measured.fastest} ({how}: {measured})")
        self._alternatives = ()
        if measured.fastest != self._placement:
            self._placement = measured.fastest
            self._team = []

    def _measure(
        self, extraction: Extraction, teams: Sequence[Placement], cores: Mapping[str, int], opened: _Opened
    ) -> Measurement | None:
        """Compare the teams on a sample, each played by the actors that are there; None if one of these has died."""
        self._reporter.say(f"Measuring who extracts fastest: {', '.join(map(str, teams))}")
        workers = self._hired(self._placement.workers)
        try:
            homes = ray.get([worker.node.remote() for worker in workers])
        except DIED:
            return None
        pieces = sample(len(extraction.source), extraction.config.feature_dtype)

        def rate(team: Placement) -> float:
            members = [opened(workers[place], team.threads) for place in stand_ins(team, homes, cores)]
            return team_rate(members, partial(self._hire_opened, opened, team.threads), extraction.fingerprint, pieces)

        return compare(teams, rate)

    def _hire_opened(self, opened: _Opened, threads: int) -> Member:
        return opened(self._hire(), threads)


@contextmanager
def ray_backend(
    config: Config, kind: Kind, cache: Cache | None, reporter: Reporter, address: str | None
) -> Iterator[RayBackend]:
    """Workers on a Ray cluster, which is joined or started for as long as they are needed."""
    with cluster(address):
        workers = backend_here(config, kind, cache, reporter)
        try:
            yield workers
        finally:
            workers.close()


def backend_here(config: Config, kind: Kind, cache: Cache | None, reporter: Reporter) -> RayBackend:
    """Workers on the cluster that this process is connected to, placed as the configuration says."""
    placement = place(config.workers, nodes())
    others = alternatives(config.workers, placement, list(node_cores().values()))
    return RayBackend(config.encoder, kind, placement, cache, reporter, others)


def _opener(extraction: Extraction, weights: Weights | None) -> _Opened:
    """What opens an actor for an extraction; source and weights are put in the store once."""
    source = ray.put(extraction.source)
    fingerprint = None if weights is None else weights.fingerprint
    arrays = None if weights is None else _reference(weights)

    def opened(worker: Any, threads: int) -> Member:
        return Member(worker, worker.open.remote(extraction.fingerprint, source, fingerprint, arrays, threads))

    return opened


def _reference(weights: Weights) -> Any:
    return weights.reference if isinstance(weights, ObjectStoreWeights) else ray.put(dict(weights.load()))
