"""What an arm is charged: what its work cost where it was done, on however many workers, and whatever is cached."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import cloudpickle
from tiny_runs import tiny_config

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import worker_pool
from asvp.actors.worker import _Worker
from asvp.compute.busy import Stopwatch
from asvp.compute.placement import Placement
from asvp.driver.loop import run
from asvp.driver.preparation import prepare
from asvp.features.cache import Cache
from asvp.progress import SilentReporter

# The tests are no package that a worker could import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class OneCoreSecond:
    """A clock of work: every piece takes a second of one core, or less of more cores."""

    def __init__(self) -> None:
        self.cpus = 1.0

    @contextmanager
    def measure(self) -> Iterator[Stopwatch]:
        yield Stopwatch(1.0 / self.cpus)


class _CountingWorker(_Worker):
    """Does the work, and says that each job has taken one core-second."""

    def __init__(self, share: Any, cores: float) -> None:
        super().__init__(share, cores)
        self._clock = OneCoreSecond()
        self._bench._busy = self._clock  # type: ignore[assignment]

    def extract(self, order: Any, job: Any, share: Any) -> Any:
        self._clock.cpus = share.cpus
        return super().extract(order, job, share)

    def train(self, order: Any, share: Any, beside: Any = ()) -> Any:
        self._clock.cpus = share.cpus
        return super().train(order, share, beside)

    def do(self, job: Any, share: Any) -> Any:
        self._clock.cpus = share.cpus
        return super().do(job, share)


CountingWorker: Any = ray.remote(_CountingWorker)


def core_seconds(folder: Path, mode: str, workers: int, cache: str | None) -> dict[str, float]:
    """What a run is charged but for its driver's own time, and what of that it did not spend itself."""
    refresh = {"policy": "at", "at": [30]} if mode == "asvp" else {}
    config = tiny_config(folder, mode=mode, refresh=refresh, training={"evaluate_at": "every"})
    prepared = prepare(config)
    kept = None if cache is None else Cache(cache)
    with worker_pool(Placement(workers, 1.0, 0.0), worker=CountingWorker) as pool:
        backend = PoolBackend(pool, prepared.encoder, kept, SilentReporter())
        summary = run(config, prepared=prepared, backend=backend).summary
        backend.close()
    return {
        "charged": summary["device_seconds"]["cpu"] - summary["seconds"]["other"],
        "saved": summary["saved_seconds"],
        "gpu": summary["device_seconds"]["gpu"],
    }


@pytest.mark.parametrize("mode", [pytest.param("svp", marks=pytest.mark.slow), "asvp"])
def test_an_arm_costs_the_same_on_one_worker_and_on_two_and_where_its_work_was_done_before(
    ray_local: Any, tmp_path: Path, mode: str
) -> None:
    # Jobs are counted, so there is no noise but that of adding: pool and test in shards, proxies, picks, trainings.
    alone = core_seconds(tmp_path, mode, 1, None)
    assert alone["charged"] >= 10
    assert (alone["saved"], alone["gpu"]) == (0, 0)
    two = core_seconds(tmp_path, mode, 2, None)
    assert two["charged"] == pytest.approx(alone["charged"])
    first = core_seconds(tmp_path, mode, 2, str(tmp_path / "cache"))
    assert first["charged"] == pytest.approx(alone["charged"])
    again = core_seconds(tmp_path, mode, 1, str(tmp_path / "cache"))
    assert again["charged"] == pytest.approx(alone["charged"])
    assert again["saved"] > 0, "it was charged, and not spent"
