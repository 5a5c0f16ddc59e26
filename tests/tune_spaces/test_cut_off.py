"""A node that does not answer for a while is waited for, or given up; what wakes up there later can spoil nothing."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
from forked import fork_ray_workers
from ray import tune
from ray.cluster_utils import Cluster
from tiny_runs import picks, tiny_config, wait_until

from asvp.config import Config
from asvp.driver.loop import run
from asvp.progress import SilentReporter
from asvp.tune_spaces import tuning
from asvp.tune_spaces.space import Space, Trial, trials
from asvp.tune_spaces.sweep import run_sweep

pytestmark = pytest.mark.long

NODE = {"num_cpus": 1, "resources": {"driver": 1}, "object_store_memory": 100 << 20}
"""Room for a worker and a trial."""
HEALTH = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 2000,
    "health_check_failure_threshold": 3,
}
"""A node is dead after six seconds of silence at least; by default after about a minute."""
SHORT_SECONDS = 2.0


@pytest.fixture(scope="module")
def nodes() -> Iterator[list[Any]]:
    """A head that has room for nothing, and two nodes."""
    fork_ray_workers()
    ray.shutdown()
    head = {"num_cpus": 0, "object_store_memory": 100 << 20, "_system_config": HEALTH}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    added = [cluster.add_node(**NODE) for _ in range(2)]
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", namespace="tests")
    cluster.wait_for_nodes()
    yield added
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    cache = {"cache": str(folder / "cache")}
    return tiny_config(folder, budget="20+10x3", extraction=cache, workers={"count": 2, "cpus": 1})


@pytest.fixture(scope="module")
def chosen(base: Config) -> list[Trial]:
    return list(trials(Space({"svp": {}}, (0, 1)), base.model_dump()))


@pytest.fixture(scope="module")
def undisturbed(chosen: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """What each trial buys."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for trial in chosen:
        run(trial.config, out=folder / trial.name, in_process=True)
    return {trial.name: picks(folder / trial.name) for trial in chosen}


class Stopped:
    """A node whose processes all stand still, as one that is cut off: nothing comes from it, and nothing arrives.

    Attributes
    ----------
    trial : int
        The process of the trial that lies there.
    """

    def __init__(self, nodes: list[Any], trial: int) -> None:
        actors = [one for one in ray._private.state.actors().values() if one["State"] == "ALIVE"]
        [place] = {one["Address"]["NodeID"] for one in actors if one["Pid"] == trial}
        [node] = [node for node in nodes if node.node_id == place]
        [raylet] = node.all_processes["raylet"]
        self.trial = trial
        self._node = place
        self._process = raylet.process
        self._raylet = raylet.process.pid
        # Workers that a test's server has forked are no descendants of the raylet.
        self._others = {one["Pid"] for one in actors if one["Address"]["NodeID"] == place}
        self._others |= {child.pid for child in psutil.Process(self._raylet).children(recursive=True)}
        self.send(signal.SIGSTOP)

    def send(self, number: int) -> None:
        for process in (self._raylet, *self._others):
            with suppress(ProcessLookupError):
                os.kill(process, number)

    def is_alive(self) -> bool:
        """Whether Ray takes the node to be."""
        return any(node["Alive"] for node in ray.nodes() if node["NodeID"] == self._node)

    def is_gone(self) -> bool:
        """Whether no process that matters is left: those that were declared dead end by themselves."""
        # As long as nobody has asked how it ended it looks alive to its workers.
        return self._process.poll() is not None and not psutil.pid_exists(self.trial)


class Acting(SilentReporter):
    """Calls what is to happen at each round, with the name of the trial and of how many it has reported."""

    def __init__(self, act: Callable[[str, int], None]) -> None:
        self.said: list[str] = []
        self._rounds: dict[str, int] = {}
        self._act = act

    def say(self, text: str, **ids: Any) -> None:
        self.said.append(text)

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        assert trial is not None
        self._rounds[trial] = self._rounds.get(trial, 0) + 1
        self._act(trial, self._rounds[trial])


def holder(out: Path, trial: str) -> int:
    """The process of a trial."""
    [told] = (out / "runs" / trial / "checkpoint").glob(".held.*.tmp/holder.json")
    return int(json.loads(told.read_text())["pid"])


def swept(
    chosen: list[Trial], out: Path, act: Callable[[str, int], None], patch: pytest.MonkeyPatch
) -> tuple[dict[str, list[int]], list[str]]:
    """What each trial of a sweep has bought, which has to end well, and what was said."""
    patch.setattr(tuning, "_DRIVER", tune.PlacementGroupFactory([{"driver": 1}]))
    acting = Acting(act)
    result = run_sweep(chosen, out, resume=False, address=None, max_concurrent=2, reporter=acting)
    assert result.failed == {}
    assert result.unfinished == ()
    return {trial.name: picks(out / "runs" / trial.name) for trial in chosen}, acting.said


# The next one is the harder: a node that is silent for longer.
@pytest.mark.slow
def test_a_node_that_answers_again_soon_is_waited_for(
    nodes: list[Any],
    chosen: list[Trial],
    undisturbed: dict[str, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, stopped = tmp_path / "out", []

    def stop_for_a_moment(trial: str, rounds: int) -> None:
        if stopped:
            return
        stopped.append(Stopped(nodes, holder(out, trial)))
        again = time.monotonic() + SHORT_SECONDS
        wait_until(lambda: time.monotonic() >= again)
        stopped[0].send(signal.SIGCONT)

    bought, said = swept(chosen, out, stop_for_a_moment, monkeypatch)
    assert bought == undisturbed
    assert stopped[0].is_alive()
    assert not any("was lost" in line for line in said)


def test_a_node_that_is_silent_for_long_is_given_up_and_its_orphan_that_wakes_up_spoils_nothing(
    nodes: list[Any],
    chosen: list[Trial],
    undisturbed: dict[str, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, stopped, seen = tmp_path / "out", [], []

    def stop_and_wake(trial: str, rounds: int) -> None:
        if not stopped:
            stopped.append(Stopped(nodes, holder(out, trial)))
            seen.append(trial)
            wait_until(lambda: not stopped[0].is_alive(), 120)
        elif trial == seen[0] and rounds == 2:
            # Another try has taken the trial over, and is at work.
            assert holder(out, trial) != stopped[0].trial
            stopped[0].send(signal.SIGCONT)

    bought, said = swept(chosen, out, stop_and_wake, monkeypatch)
    assert bought == undisturbed
    assert any(line.startswith(f"{seen[0]}: its process or its node was lost") for line in said)
    wait_until(stopped[0].is_gone, 60)
    assert {name: picks(out / "runs" / name) for name in bought} == undisturbed
    assert not list(out.glob("**/.held.*"))
