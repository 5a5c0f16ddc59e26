"""A trial of a sweep: a thin process, and the same result as the same configuration alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ray_pools import backend_of
from tiny_runs import picks, tiny_config

from asvp.config import Config
from asvp.driver.loop import run
from asvp.progress import SilentReporter
from asvp.tune_spaces.space import Space, trials
from asvp.tune_spaces.sweep import run_sweep

ARMS = {"svp": {}, "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": [20]}}}
TOLD = ("labelled", "refreshed", "feature_version", "feature_fingerprint", "proxy_accuracy", "final_accuracy")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    # Without a cache: nothing that one of them made can be read by another.
    return tiny_config(tmp_path_factory.mktemp("tiny"), training={"evaluate_at": "every"})


@pytest.fixture(scope="module")
def alone(base: Config, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each arm ends with when it is run in this process."""
    folder = tmp_path_factory.mktemp("alone")
    found = {}
    for trial in trials(Space(ARMS, (0,)), base.model_dump()):
        run(trial.config, out=folder / trial.name, in_process=True)
        found[trial.name] = left(folder / trial.name)
    assert found["svp-seed0"] != found["asvp-seed0"]
    return found


def left(out: Path) -> tuple[list[int], list[list[Any]], dict[str, Any]]:
    """The picks that a run left, what it told of each round, and its end."""
    rounds = [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]
    summary = json.loads((out / "summary.json").read_text())
    told = [[one[key] for key in TOLD] for one in rounds]
    return picks(out), told, {key: summary[key] for key in ("final_accuracy", "final_macro_f1", "recall")}


@pytest.mark.parametrize("workers", [pytest.param(1, marks=pytest.mark.slow), 2])
def test_trials_end_as_the_same_configurations_alone_on_a_pool_and_in_one_process(
    ray_local: Any, workers: int, base: Config, alone: dict[str, Any], tmp_path: Path
) -> None:
    extraction = base.extraction.model_copy(update={"actors": workers})
    chosen = list(trials(Space(ARMS, (0,)), base.model_copy(update={"extraction": extraction}).model_dump()))
    result = run_sweep(chosen, tmp_path / "sweep", resume=False, address=None, reporter=SilentReporter())
    assert result.failed == {}
    assert {trial.name: left(tmp_path / "sweep" / "runs" / trial.name) for trial in chosen} == alone
    for trial in chosen:
        with backend_of(trial.config, workers) as backend:
            run(trial.config, out=tmp_path / trial.name, backend=backend)
        assert left(tmp_path / trial.name) == alone[trial.name]


# In a process and a Ray of its own: the tests' Ray forks its workers from a process that has imported PyTorch.
ASK = """
import json, os, sys
from pathlib import Path
import ray.tune.execution.tune_controller as controlling
import asvp.tune_spaces.tuning as tuning
from asvp.config import load_config
from asvp.progress import SilentReporter
from asvp.tune_spaces.catalogue import load_space
from asvp.tune_spaces.space import trials
from asvp.tune_spaces.sweep import run_sweep

config, space, out = sys.argv[1:]
def asked(choice, **given):
    import asvp.tune_spaces.trainable as trainable
    report = trainable.tune.report

    def tell(record):
        told = {
            "imported": sorted({"torch", "transformers", "sklearn"} & set(sys.modules)),
            "mapped": [line for line in Path("/proc/self/maps").read_text().splitlines() if "libtorch" in line],
            "devices": os.environ["CUDA_VISIBLE_DEVICES"],
            "done": record.get("done", False),
        }
        Path(out, choice["trial"] + ".json").write_text(json.dumps(told))
        # With the last report the process is ended.
        report(record)

    trainable.tune.report = tell
    trainable.run_trial(choice, **given)

started, schedule = [], controlling.RayActorManager.add_actor
def counted(self, *arguments, **named):
    started.append(arguments)
    return schedule(self, *arguments, **named)

tuning.run_trial, controlling.RayActorManager.add_actor = asked, counted
base = load_config(config)
chosen = list(trials(load_space(space, base), base.model_dump()))
run_sweep(chosen, Path(out) / "sweep", resume=False, address="local", max_concurrent=2, reporter=SilentReporter())
print("started", len(started))
"""


def test_the_process_of_a_trial_holds_no_pytorch_sees_no_gpu_and_has_more_than_one_trial(
    base: Config, tmp_path: Path
) -> None:
    extraction = base.extraction.model_copy(update={"actors": 1})
    config, space = tmp_path / "config.yaml", tmp_path / "space.yaml"
    config.write_text(base.model_copy(update={"extraction": extraction}).to_yaml())
    space.write_text(json.dumps({"arms": ARMS, "seeds": [0, 1, 2]}))
    done = subprocess.run(
        [sys.executable, "-c", ASK, str(config), str(space), str(tmp_path)],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # No trial that waits throws away the process that starts for it.
    assert "started 2" in done.stdout.splitlines()
    for name in (f"{arm}-seed{seed}" for arm in ARMS for seed in range(3)):
        assert (tmp_path / "sweep" / "runs" / name / "summary.json").exists()
        told = json.loads((tmp_path / f"{name}.json").read_text())
        assert told == {"imported": [], "mapped": [], "devices": "", "done": True}, name
