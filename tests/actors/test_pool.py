"""The pool: fair, and whoever dies, the others go on."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from recording import Told
from sleeping_worker import LateWorker, SleepingWorker, StillbornWorker
from tiny_runs import tiny_config, wait_until

from asvp.actors.backend import PoolBackend
from asvp.actors.cluster import node_name
from asvp.actors.desk import Desk, Turn
from asvp.actors.extraction import ShardRun
from asvp.actors.pool import Pool, worker_pool
from asvp.actors.runs import Runs
from asvp.compute.jobs import EncoderSpec, ExtractionOrder, FineTuneJob, Held, ShardJob
from asvp.compute.placement import Placement
from asvp.config import EncoderConfig
from asvp.data import open_dataset
from asvp.errors import ClusterError, DataError, WorkError
from asvp.features.cache import Cache
from asvp.progress import SilentReporter
from asvp.spent import Share, Span


@contextmanager
def sleeping_pool(workers: int, cpus: float = 1.0, **rest: Any) -> Iterator[Pool]:
    with worker_pool(Placement(workers, cpus, 0.0), worker=SleepingWorker, **rest) as pool:
        yield pool


def a_desk(pool: Pool, name: str | None = None) -> Desk:
    return Desk(pool.broker, SilentReporter(), name)


def done(desk: Desk, function: Callable[[], Any], **rest: Any) -> tuple[Any, Turn]:
    _, (told, _), turn = desk.with_worker(
        lambda grant: grant.worker.do.options(num_returns=2).remote(function, grant.share),
        "slept",
        "Sleep less",
        **rest,
    )
    return told, turn


def do(desk: Desk, function: Callable[[], Any], **rest: Any) -> Any:
    return done(desk, function, **rest)[0]


def test_twelve_drivers_share_one_worker_evenly(ray_local: Any) -> None:
    with sleeping_pool(1) as pool:
        desks = [a_desk(pool, f"driver {number}") for number in range(12)]
        stop = threading.Event()

        def drive(desk: Desk) -> None:
            while not stop.is_set():
                do(desk, time.perf_counter)

        with ThreadPoolExecutor(12) as threads:
            driving = [threads.submit(drive, desk) for desk in desks]
            wait_until(lambda: sum(desks[0].state().served.values()) >= 120, 60)
            served = desks[0].state().served
            stop.set()
            for one in driving:
                one.result()
        assert len(served) == 12
        # Each is served once a turn; where a driver is when the count is taken makes no more difference than that.
        assert max(served.values()) - min(served.values()) <= 2


def test_shards_lie_on_all_workers_and_give_way_to_another_driver(ray_local: Any) -> None:
    order = ExtractionOrder("key", Held(None), EncoderSpec(EncoderConfig(), "features"))

    def extract(desk: Desk, shards: int) -> list[tuple[int, int]]:
        done: list[tuple[int, int]] = []
        jobs = [ShardJob(number, 10 * number, 10 * number + 10, "float32") for number in range(shards)]
        ShardRun(desk, order, Runs(jobs), lambda job, shard, slept: done.append((job.index, slept.process))).run()
        return sorted(done)

    with sleeping_pool(3, quantum=0.0) as pool, ThreadPoolExecutor(1) as threads:
        extraction, loop = a_desk(pool, "extraction"), a_desk(pool, "loop")
        wait_until(lambda: extraction.state().started == 3)
        alone = extract(extraction, 12)
        assert [index for index, _ in alone] == list(range(12))
        assert len({process for _, process in alone}) == 3
        # As many as keep three workers busy for many times what five turns take.
        running = threads.submit(extract, extraction, 240)
        for _ in range(5):
            do(loop, time.perf_counter)
        assert not running.done()
        assert [index for index, _ in running.result()] == list(range(240))


@pytest.mark.parametrize(
    ("shards", "kind", "gpus", "most"),
    [(4, "text", 1.0, 1), (40, "text", 1.0, 4), (40, "image", 1.0, 3), (40, "text", 0.0, 2)],
)
def test_a_worker_has_no_more_shards_at_a_time_than_there_are_for_each(
    shards: int, kind: Any, gpus: float, most: int, ray_local: Any
) -> None:
    """Of as many shards as workers each gets one; with more of them a worker has what it can work on at a time."""
    order = ExtractionOrder("key", Held(None), EncoderSpec(EncoderConfig(), kind))
    jobs = [ShardJob(number, 10 * number, 10 * number + 10, "float32") for number in range(shards)]
    done: list[int] = []
    with sleeping_pool(4, cpus=0.5) as pool:
        desk = a_desk(pool)
        wait_until(lambda: desk.state().started == 4)
        run = ShardRun(desk, order, Runs(jobs), lambda job, shard, slept: done.append(slept.process))
        held, hand_out = [], run._hand_out

        def handed(lent: Any) -> None:
            lent.grant = dataclasses.replace(lent.grant, share=Share(1.0, gpus))
            hand_out(lent)
            held.append(len(lent.calls))

        run._hand_out = handed  # type: ignore[method-assign]
        run.run()
    assert len(done) == shards
    assert max(held) == most
    assert len(set(done)) == 4


def test_the_times_of_a_workers_jobs_never_overlap_whichever_drivers_they_are_of(ray_local: Any) -> None:
    order = ExtractionOrder("key", Held(None), EncoderSpec(EncoderConfig(), "features"))
    jobs = [ShardJob(number, 10 * number, 10 * number + 10, "float32") for number in range(24)]
    before = time.time()
    with sleeping_pool(2, quantum=0.0) as pool, ThreadPoolExecutor(3) as threads:
        desks = [a_desk(pool, f"driver {number}") for number in range(3)]
        wait_until(lambda: desks[0].state().started == 2)

        def drive(desk: Desk) -> list[Span]:
            return [span for _ in range(20) for span in done(desk, time.perf_counter)[1].spans]

        extracting = threads.submit(ShardRun(desks[0], order, Runs(jobs), lambda *told: None).run)
        driving = [threads.submit(drive, desk) for desk in desks[1:]]
        shards = extracting.result()
        spans = sorted([*shards, *driving[0].result(), *driving[1].result()], key=lambda span: span.began)
    assert sum(span.shards for span in shards) == 24
    assert len(spans) == len(shards) + 40
    last: dict[str, float] = {}
    for span in spans:
        (worker,) = span.workers
        assert last.get(worker, before) <= span.began <= span.ended
        last[worker] = span.ended
    assert len(last) == 2
    assert max(last.values()) <= time.time()
    assert {span.node for span in spans} == {node_name(ray.get_runtime_context().get_node_id())}


def test_a_job_whose_worker_dies_is_done_by_another(ray_local: Any, tmp_path: Path) -> None:
    mark = tmp_path / "died once"

    def dies_once() -> str:
        if not mark.exists():
            mark.touch()
            os._exit(1)
        return "done"

    with sleeping_pool(2) as pool:
        desk = a_desk(pool)
        told, taken = done(desk, dies_once)
        assert told == "done"
        assert [span.died for span in taken.spans] == [True, False]
        wait_until(lambda: desk.state().started == 2)


def test_a_job_that_kills_every_worker_is_an_error_that_names_it(ray_local: Any) -> None:
    with sleeping_pool(1) as pool:
        desk = a_desk(pool)
        with pytest.raises(WorkError, match=r"died 3 times while it slept.*Sleep less"):
            do(desk, lambda: os._exit(1))
        assert do(desk, lambda: "well") == "well", "the pool is as it was"


def test_what_a_worker_raises_on_purpose_is_raised_as_it_is(ray_local: Any) -> None:
    def fails() -> None:
        raise DataError("is odd", key="row", value=7)

    with sleeping_pool(1) as pool:
        desk = a_desk(pool)
        with pytest.raises(DataError, match="row: is odd"):
            do(desk, fails)
        assert do(desk, lambda: 1) == 1, "its worker was given back"


@pytest.mark.parametrize("successor", ["another", "trial"], ids=["to another driver", "to the next try of its own"])
def test_what_a_killed_driver_had_goes_to_others(
    ray_local: Any, monkeypatch: pytest.MonkeyPatch, successor: str
) -> None:
    monkeypatch.setattr("asvp.actors.broker.SIGN_OF_LIFE", 0.1)
    ray = ray_local

    @ray.remote(num_cpus=0)
    class Driver:
        """Takes the only worker, and a key, and waits for another worker."""

        def begin(self, broker: Any) -> None:
            self.desk = Desk(broker, SilentReporter(), "trial")
            _, answer = self.desk.ask()
            self.desk.granted(answer)
            self.desk.ask()
            self.key = self.desk.once("key")
            self.key.__enter__()

    with sleeping_pool(1, patience=6.0) as pool:
        driver = Driver.remote()
        ray.get(driver.begin.remote(pool.broker))
        desk = a_desk(pool, successor)
        assert desk.state().waiting == 1
        ray.kill(driver)
        with ThreadPoolExecutor(1) as threads:

            def take_over() -> str:
                with desk.once("key"):
                    return str(do(desk, lambda: "mine"))

            assert threads.submit(take_over).result(60) == "mine"
        # Accounts are by name, however many tries there were.
        assert desk.state().served == ({"trial": 2} if successor == "trial" else {"trial": 1, "another": 1})


def test_a_driver_that_was_taken_for_dead_asks_again(ray_local: Any) -> None:
    # No sign of life comes in time.
    with sleeping_pool(1, patience=0.4) as pool, ThreadPoolExecutor(1) as threads:
        silent, other = a_desk(pool), a_desk(pool)
        do(other, lambda: None)
        ticket, answer = other.ask()
        other.granted(answer)
        waiting = threads.submit(do, silent, lambda: "in the end")
        time.sleep(1.0)
        other.give_back(ticket)
        assert waiting.result(30) == "in the end"


def test_a_broker_killed_for_good_is_an_error_that_says_how_to_go_on(ray_local: Any) -> None:
    with sleeping_pool(1) as pool:
        desk = a_desk(pool)
        do(desk, lambda: None)
        ray_local.kill(pool.broker)
        # Killing takes a moment, in which it may still answer.
        with pytest.raises(WorkError, match=r"lends the workers of the pool has died.*resume"):
            wait_until(lambda: do(desk, lambda: False))


def test_those_that_wait_for_a_broker_that_dies_are_told(ray_local: Any) -> None:
    with sleeping_pool(1) as pool, ThreadPoolExecutor(1) as threads:
        desk = a_desk(pool)
        _, answer = desk.ask()
        desk.granted(answer)
        waiting = threads.submit(do, a_desk(pool), lambda: None)
        wait_until(lambda: desk.state().waiting == 1)
        ray_local.kill(pool.broker)
        with pytest.raises(WorkError, match="has died"):
            waiting.result(30)


def test_workers_that_cannot_start_are_an_error_and_no_silence(ray_local: Any) -> None:
    with (
        worker_pool(Placement(1, 1.0, 0.0), worker=StillbornWorker) as pool,
        pytest.raises(ClusterError, match=r"no worker can be started.*no module named torch"),
    ):
        do(a_desk(pool), lambda: None)


def test_work_begins_with_the_workers_there_are(ray_local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvp.actors.desk.SAY_AFTER_SECONDS", 0.2)
    heard = Told()
    # Four cores are there: the third worker waits for ever.
    with sleeping_pool(3, cpus=2.0) as pool:
        desk = Desk(pool.broker, heard)
        wait_until(lambda: desk.state().started == 2)
        asks = [desk.ask() for _ in range(2)]
        for _, answer in asks:
            desk.granted(answer)
        _, third = desk.ask()
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(desk.wait, [third], working=False)
            wait_until(lambda: bool(heard.lines))
            desk.give_back(asks[0][0])
            waiting.result(30)
    assert "2 of 3 workers started; waiting for resources (0 of 4 CPUs free)" in heard.lines


def test_what_a_worker_waits_for_is_told_by_its_drivers(ray_local: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvp.actors.broker.SIGN_OF_LIFE", 0.1)
    heard = [Told(), Told()]
    with worker_pool(Placement(2, 1.0, 0.0), worker=LateWorker, silence=8) as pool:
        desks = [Desk(pool.broker, told) for told in heard]
        wait_until(lambda: desks[0].state().started == 2)
        wait_until(lambda: all(told.lines for told in heard))
    assert [told.lines for told in heard] == [["The cache answers late"]] * 2


def test_a_lone_driver_has_the_cores_of_idle_workers_and_one_of_many_its_own(ray_local: Any) -> None:
    def held(desk: Desk) -> float:
        _, (_, share), _ = desk.with_worker(
            lambda grant: grant.worker.do.options(num_returns=2).remote(time.perf_counter, grant.share),
            "",
            "",
            width=99,
        )
        return float(share.cpus)

    with sleeping_pool(3) as pool:
        desk = a_desk(pool)
        wait_until(lambda: desk.state().started == 3)
        assert held(desk) == 3
        others = [a_desk(pool) for _ in range(3)]
        for other in others:
            do(other, lambda: None)
        assert held(desk) == 1
        for other in others:
            other.close()
        wait_until(lambda: held(desk) == 3)


def test_two_drivers_that_want_one_model_have_it_computed_once(ray_local: Any, tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    dataset = open_dataset(config.data)
    rows = np.arange(20)
    job = FineTuneJob(
        "ft", dataset.pool, rows, rows % len(dataset.classes), len(dataset.classes), config.training, 0, "encoder"
    )
    cache = Cache(str(tmp_path / "cache"), None)
    with worker_pool(Placement(2, 1.0, 0.0)) as pool, ThreadPoolExecutor(2) as threads:
        spec = EncoderSpec(config.encoder, "text")
        drivers = [PoolBackend(pool, spec, cache, SilentReporter()) for _ in range(2)]
        models = list(threads.map(lambda driver: driver.train(job), drivers))
        assert sorted(model.reused for model in models) == [False, True]
        assert models[0].spent == models[1].spent, "both are charged what it cost"
        first, second = (dict(model.weights.load()) for model in models if model.weights is not None)
        for name in first:
            np.testing.assert_array_equal(first[name], second[name])
