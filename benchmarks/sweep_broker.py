"""Drivers that ask a broker for what real ones ask for, and workers that sleep in place of kernels."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import psutil
import ray
from ray import cloudpickle
from sweep_measure import cpu_seconds, spread

from asvp.actors.desk import Desk
from asvp.actors.extraction import ShardRun, likes
from asvp.actors.pool import Pool, worker_pool
from asvp.actors.runs import Runs
from asvp.compute.jobs import EncoderSpec, ExtractionOrder, Held, HeldWeights, ShardJob
from asvp.compute.placement import Placement
from asvp.config import EncoderConfig
from asvp.errors import WorkError
from asvp.progress import SilentReporter
from asvp.spent import NOTHING, Spent

# Benchmarks are no package that a worker could import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

_EVERY = 1 << 16
"""As drivers ask: a job that uses whatever workers are idle."""


@dataclass(frozen=True)
class Slept:
    """A job, as the worker tells of it; seconds since the epoch."""

    worker: str
    began: float
    ended: float
    stored: str | None = None
    spent: Spent = NOTHING


class _SleepingWorker:
    """Does one thing at a time, as a GPU does: a second shard waits for the first."""

    def __init__(self, share: Any, cores: float) -> None:
        self._name = str(os.getpid())
        self._lock = threading.Lock()

    def hello(self) -> tuple[str, str, dict[str, Any]]:
        return self._name, ray.get_runtime_context().get_node_id(), {"processor": "none"}

    def extract(self, order: Any, job: Any, share: Any) -> tuple[None, Slept]:
        return None, self._sleep(order.source.load())

    def do(self, seconds: float, share: Any) -> tuple[None, Slept]:
        return None, self._sleep(seconds)

    def rest(self) -> None:
        pass

    def _sleep(self, seconds: float) -> Slept:
        with self._lock:
            began = time.time()
            time.sleep(seconds)
            return Slept(self._name, began, time.time())


SleepingWorker: Any = ray.remote(_SleepingWorker)


@contextmanager
def sleeping_pool(workers: int, gpus: float = 1.0, cpus: float = 1.0) -> Iterator[Pool]:
    """A pool of workers that sleep."""
    with worker_pool(Placement(workers, cpus, gpus), worker=SleepingWorker) as pool:
        yield pool


@dataclass(frozen=True)
class Durations:
    """Seconds of each kind of job, and how many there are in a trial."""

    fine_tune: float = 2.0
    shard: float = 0.25
    proxy: float = 0.2
    evaluate: float = 0.05
    pick: float = 0.1
    rounds: int = 4
    shards: int = 12
    test_shards: int = 2
    finals: int = 2

    def times(self, scale: float) -> Durations:
        """All seconds longer or shorter."""
        return Durations(
            *(scale * one for one in (self.fine_tune, self.shard, self.proxy, self.evaluate, self.pick)),
            self.rounds,
            self.shards,
            self.test_shards,
            self.finals,
        )


class _OverError(Exception):
    """The measurement is over."""


@dataclass
class Driver:
    """Runs trial after trial until it is told that it is over."""

    pool: Pool
    name: str
    durations: Durations
    over: threading.Event
    slept: list[Slept] = field(default_factory=list)
    trials: int = 0

    def run(self) -> None:
        """One trial after the other."""
        self._desk = Desk(self.pool.broker, SilentReporter(), self.name)
        try:
            with suppress(_OverError):
                while True:
                    self._trial()
                    self.trials += 1
        finally:
            self._desk.close()

    def _trial(self) -> None:
        told, finals = self.durations, []
        for number in range(told.rounds):
            self._do(told.pick)
            self._do(told.proxy, width=1)
            self._do(told.evaluate)
            if number == 1:
                weights = f"{self.name} {self.trials}"
                self._do(told.fine_tune, likes=likes(_order("", 0.0)))
                self._extract(told.shards, weights)
                self._do(told.proxy, width=1)
                self._do(told.evaluate)
            if number >= told.rounds - told.finals:
                thread = threading.Thread(target=self._final, args=(number,), daemon=True)
                thread.start()
                finals.append(thread)
        for thread in finals:
            thread.join()
        if self.over.is_set():
            raise _OverError

    def _final(self, number: int) -> None:
        """What no loop waits for: a model, the features of the test rows, and how good it is on them."""
        with suppress(_OverError, WorkError):
            self._do(self.durations.fine_tune, urgent=False, likes=likes(_order("", 0.0)))
            self._extract(self.durations.test_shards, f"{self.name} {self.trials} final {number}", urgent=False)
            self._do(self.durations.evaluate, urgent=False)

    def _do(self, seconds: float, *, width: int = _EVERY, urgent: bool = True, likes: str = "") -> None:
        if self.over.is_set():
            raise _OverError

        def call(grant: Any) -> Any:
            return grant.worker.do.options(num_returns=2).remote(seconds, grant.share)

        _, told, _ = self._desk.with_worker(call, "slept", "", urgent=urgent, width=width, likes=likes)
        self.slept.append(told)

    def _extract(self, shards: int, weights: str, *, urgent: bool = True) -> None:
        if self.over.is_set():
            raise _OverError
        jobs = [ShardJob(number, number, number + 1, "float32") for number in range(shards)]

        def finished(job: Any, shard: Any, told: Slept) -> None:
            self.slept.append(told)

        ShardRun(self._desk, _order(weights, self.durations.shard), Runs(jobs), finished, urgent=urgent).run()


def _order(weights: str, seconds: float) -> ExtractionOrder:
    held = HeldWeights(weights, {}) if weights else None
    return ExtractionOrder("", Held(seconds), EncoderSpec(EncoderConfig(), "text"), held)  # type: ignore[arg-type]


def simulate(workers: int, drivers: int, durations: Durations, warm_up: float, window: float) -> dict[str, Any]:
    """Busy share of the workers and fairness among drivers, over a window in which all of them have work."""
    over = threading.Event()
    with sleeping_pool(workers) as pool, ThreadPoolExecutor(drivers) as threads:
        desk = Desk(pool.broker, SilentReporter(), "observer")
        while desk.state().started < workers:
            time.sleep(0.1)
        team = [Driver(pool, f"driver {number:02}", durations, over) for number in range(drivers)]
        running = [threads.submit(one.run) for one in team]
        time.sleep(warm_up)
        me = psutil.Process()
        before, first, used = desk.state(), time.time(), cpu_seconds(me)
        trials = [one.trials for one in team]
        time.sleep(window)
        after, last, used = desk.state(), time.time(), cpu_seconds(me) - used
        finished = sum(one.trials for one in team) - sum(trials)
        waiting = after.waiting
        over.set()
        for one in running:
            one.result()
        desk.close()
    inside: dict[str, list[Slept]] = {
        one.name: [job for job in one.slept if job.ended > first and job.began < last] for one in team
    }
    busy = {name: sum(_overlap(job, first, last) for job in jobs) for name, jobs in inside.items()}
    leases = {name: after.served[name] - before.served[name] for name in inside}
    mean = sum(busy.values()) / drivers
    return {
        "busy_share": sum(busy.values()) / (workers * (last - first)),
        "window": last - first,
        "jobs": sum(len(jobs) for jobs in inside.values()),
        "leases": sum(leases.values()),
        "trials_finished": finished,
        "waiting_at_the_end": waiting,
        "leases_a_driver": spread(leases.values()),
        "busy_seconds_a_driver": spread(busy.values()),
        "busy_spread": (max(busy.values()) - min(busy.values())) / mean,
        "gap_ms": {name: 1e3 * gap for name, gap in spread(_gaps(inside, first, last)).items()},
        "cores_used_by_the_benchmark": used / (last - first),
    }


def lend_rate(workers: int, drivers: int, seconds: float) -> float:
    """Leases a second, to drivers that give a worker back at once."""
    stop = time.perf_counter() + seconds
    counts: Counter[str] = Counter()
    with sleeping_pool(workers, gpus=0.0, cpus=0.01) as pool, ThreadPoolExecutor(drivers) as threads:
        desks = [Desk(pool.broker, SilentReporter(), f"driver {number}") for number in range(drivers)]
        while desks[0].state().started < workers:
            time.sleep(0.1)

        def drive(desk: Desk) -> None:
            while time.perf_counter() < stop:
                ticket, answer = desk.ask()
                desk.granted(answer)
                desk.give_back(ticket)
                counts[desk.name] += 1

        began = time.perf_counter()
        stop = began + seconds
        for one in [threads.submit(drive, desk) for desk in desks]:
            one.result()
        took = time.perf_counter() - began
        for desk in desks:
            desk.close()
    return sum(counts.values()) / took


def _overlap(job: Slept, first: float, last: float) -> float:
    return max(0.0, min(job.ended, last) - max(job.began, first))


def _gaps(inside: dict[str, list[Slept]], first: float, last: float) -> list[float]:
    """Seconds that each worker stood still between two jobs."""
    by_worker: dict[str, list[Slept]] = defaultdict(list)
    for jobs in inside.values():
        for job in jobs:
            by_worker[job.worker].append(job)
    gaps = []
    for jobs in by_worker.values():
        jobs.sort(key=lambda job: job.began)
        gaps += [after.began - before.ended for before, after in pairwise(jobs)]
    return gaps
