"""Whatever of a sweep is killed while it runs, it goes on by itself, and ends as one that was left in peace."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import ray
import yaml
from forked import Forked
from ray import tune
from tiny_runs import picks, tiny_config, wait_until, wide_config

from asvp.config import Config
from asvp.driver.loop import run
from asvp.progress import SilentReporter
from asvp.tune_spaces import tuning
from asvp.tune_spaces.space import Space, Trial, trials
from asvp.tune_spaces.sweep import run_sweep

ARMS = {"svp": {}, "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": [20]}}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_config(folder, extraction={"cache": str(folder / "cache")}, workers={"count": 2, "cpus": 1})


@pytest.fixture(scope="module")
def chosen(base: Config) -> list[Trial]:
    return list(trials(Space(ARMS, (0, 1)), base.model_dump()))


@pytest.fixture(scope="module")
def undisturbed(chosen: list[Trial], tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[int]]:
    """What each trial buys."""
    folder = tmp_path_factory.mktemp("undisturbed")
    for trial in chosen:
        run(trial.config, out=folder / trial.name, in_process=True)
    return {trial.name: picks(folder / trial.name) for trial in chosen}


class Disturber(SilentReporter):
    """Does something once, when a trial has finished its first round."""

    def __init__(self, act: Callable[[str], None]) -> None:
        self.said: list[str] = []
        self._act: Callable[[str], None] | None = act

    def say(self, text: str, **ids: Any) -> None:
        self.said.append(text)

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        if self._act is not None:
            assert trial is not None
            act, self._act = self._act, None
            act(trial)


def holder(out: Path, trial: str) -> int:
    """The process of a trial."""
    [told] = (out / "runs" / trial / "checkpoint").glob(".held.*.tmp/holder.json")
    return int(json.loads(told.read_text())["pid"])


def processes(name: str) -> list[int]:
    """Processes of the living actors of a class."""
    found = ray._private.state.actors().values()
    return [one["Pid"] for one in found if one["ActorClassName"] == name and one["State"] == "ALIVE"]


def sweep(chosen: list[Trial], out: Path, act: Callable[[str], None], **given: Any) -> tuple[Any, list[str]]:
    reporter = Disturber(act)
    result = run_sweep(chosen, out, **{"resume": False, "address": None, **given}, reporter=reporter)
    return result, reporter.said


def bought(out: Path) -> dict[str, list[int]]:
    return {folder.name: picks(folder) for folder in (out / "runs").iterdir()}


def test_a_trial_whose_process_is_killed_goes_on_by_itself(
    ray_local: Any, chosen: list[Trial], undisturbed: dict[str, list[int]], tmp_path: Path
) -> None:
    result, said = sweep(chosen, tmp_path, lambda trial: os.kill(holder(tmp_path, trial), signal.SIGKILL))
    assert result.failed == {}
    assert result.unfinished == ()
    assert any("was lost (1 in this round); it goes on by itself" in line for line in said)
    assert bought(tmp_path) == undisturbed
    assert not list(tmp_path.glob("**/.held.*"))


# The storm of tests/test_soak.py kills both too.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["_Worker", "_Broker"])
def test_a_worker_or_the_broker_that_is_killed_costs_nothing_but_time(
    ray_local: Any, name: str, chosen: list[Trial], undisturbed: dict[str, list[int]], tmp_path: Path
) -> None:
    killed = []

    def kill(trial: str) -> None:
        for process in processes(name):
            os.kill(process, signal.SIGKILL)
            killed.append(process)

    result, _ = sweep(chosen, tmp_path, kill)
    assert killed
    assert result.failed == {}
    assert bought(tmp_path) == undisturbed


def test_a_trial_that_is_lost_again_and_again_fails_and_stops_no_other(
    ray_local: Any, base: Config, undisturbed: dict[str, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "MOST_LOSSES", 2)

    def dies(choice: dict[str, Any], **given: Any) -> None:
        if choice["trial"] == "svp-seed1":
            os.kill(os.getpid(), signal.SIGKILL)
        from asvp.tune_spaces.trainable import run_trial

        run_trial(choice, **given)

    monkeypatch.setattr(tuning, "run_trial", dies)
    chosen = list(trials(Space({"svp": {}}, (0, 1)), base.model_dump()))
    result, _ = sweep(chosen, tmp_path, lambda trial: None)
    assert result.failed == {"svp-seed1": "its process or its node was lost 3 times in a row in the same round"}
    assert result.unfinished == ("svp-seed1",)
    assert picks(tmp_path / "runs" / "svp-seed0") == undisturbed["svp-seed0"]
    told = json.loads((tmp_path / "runs" / "svp-seed1" / "failure.json").read_text())
    assert told == {"kind": "lost", "message": result.failed["svp-seed1"]}


# The storm of tests/test_soak.py kills it too; tests/tune_spaces/test_resume.py leaves finished trials alone.
@pytest.mark.slow
def test_a_sweep_whose_own_process_is_killed_is_resumed_and_leaves_finished_trials_alone(
    ray_local: Any, chosen: list[Trial], base: Config, undisturbed: dict[str, list[int]], tmp_path: Path
) -> None:
    config, space, out = tmp_path / "config.yaml", tmp_path / "space.yaml", tmp_path / "out"
    config.write_text(base.to_yaml())
    space.write_text(yaml.safe_dump({"arms": ARMS, "seeds": [0, 1]}))
    words = ["-m", "asvp", "sweep", str(space), str(config), "--out", str(out), "--address", "local"]
    process = Forked(*words, cwd=tmp_path, start_new_session=True)
    wait_until(lambda: process.poll() is not None or any(out.glob("runs/*/summary.json")), 120)
    process.send_signal(signal.SIGKILL)
    wait_until(lambda: process.poll() is not None)
    done = {path.parent for path in out.glob("runs/*/checkpoint/state.json") if is_whole(path.parent.parent)}
    before = {path: path.stat().st_mtime_ns for folder in done for path in folder.parent.rglob("*")}
    result, said = sweep(chosen, out, lambda trial: None, resume=True)
    assert result.failed == {}
    assert bought(out) == undisturbed
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert said[2].startswith("Going on with the sweep: ")
    assert set(result.to_pandas()["trial"]) == set(undisturbed)


def is_whole(folder: Path) -> bool:
    """Whether a run is finished, and nobody is still in it."""
    return (folder / "summary.json").exists() and not list(folder.glob("checkpoint/.held.*"))


# tests/tune_spaces/test_three_nodes.py loses a node too.
@pytest.mark.slow
@pytest.mark.parametrize("cached", [True, False])
def test_trials_of_a_node_that_is_lost_go_on_on_another_with_a_cache_and_without(
    ray_cluster: Any, cached: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = str(tmp_path / "cache") if cached else None
    base = wide_config(tmp_path, extraction={"cache": cache}, workers={"count": 2, "cpus": 1})
    chosen = list(trials(Space(ARMS, (0, 1)), base.model_dump()))
    store = 100 << 20
    nodes = [ray_cluster.add_node(num_cpus=1, resources={"driver": 2}, object_store_memory=store) for _ in range(2)]
    ray_cluster.wait_for_nodes()
    monkeypatch.setattr(tuning, "_DRIVER", tune.PlacementGroupFactory([{"driver": 1}]))
    out = tmp_path / "out"

    def lose_its_node(trial: str) -> None:
        process = holder(out, trial)
        [actor] = (one for one in ray._private.state.actors().values() if one["Pid"] == process)
        [node] = (node for node in nodes if node.node_id == actor["Address"]["NodeID"])
        ray_cluster.remove_node(node, allow_graceful=False)
        nodes.remove(node)

    result, said = sweep(chosen, out, lose_its_node)
    ray_cluster.remove_node(nodes[0])
    assert result.failed == {}
    assert any("it goes on by itself" in line for line in said)
    for trial in chosen:
        run(trial.config, out=tmp_path / trial.name, in_process=True)
        assert picks(out / "runs" / trial.name) == picks(tmp_path / trial.name)
