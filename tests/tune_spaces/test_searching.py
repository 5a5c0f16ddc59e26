"""Sweeps of arms drawn at random, and of arms that are suggested while they run, on Ray and ready-made features."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import Told

import asvp
from asvp.config import Config, build_config
from asvp.errors import ConfigError
from asvp.report.status_files import read_status
from asvp.tune_spaces import Space, grid, loguniform, tuning
from asvp.tune_spaces.dry_run import dry_run

SPACE = Space(
    {"svp": {"mode": "svp"}, "random": {"selection": {"strategy": "random"}, "proxy": {"epochs": grid(3, 6)}}},
    seeds=(0, 1),
    axes={"training.head_lr": loguniform(1e-4, 1e-1)},
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """A linear probe on features that are there already."""
    folder = tmp_path_factory.mktemp("features")
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(3, 8))
    for name, rows in (("pool", 120), ("test", 60)):
        labels = np.arange(rows) % 3
        features = (centres[labels] + generator.normal(size=(rows, 8))).astype(np.float32)
        np.savez(folder / f"{name}.npz", features=features, labels=labels)
    return build_config(
        {
            "mode": "svp",
            "data": {"pool": str(folder / "pool.npz"), "test": str(folder / "test.npz")},
            "extraction": {"cache": None},
            "budget": "20+10",
            "proxy": {"epochs": 3},
            "training": {"method": "lp", "epochs": 2, "evaluate_at": "last"},
            "workers": {"count": 1, "cpus": 1},
        }
    )


def written(out: Path) -> dict[Path, int]:
    """When each file of the run directories was written."""
    return {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*") if path.is_file()}


def sweep(base: Config, out: Path, space: Space = SPACE, **given: Any) -> tuple[Any, list[str]]:
    told = Told()
    return asvp.sweep(space, base, out=out, reporter=told, **given), told.lines


def test_a_random_sweep_runs_so_many_arms_with_all_seeds_and_grows(
    ray_local: Any, base: Config, tmp_path: Path
) -> None:
    first, _ = sweep(base, tmp_path, search="random", samples=2)
    assert (first.failed, first.unfinished) == ({}, ())
    before = written(tmp_path)
    again, said = sweep(base, tmp_path, samples=3, resume=True)
    assert "Going on with the sweep: 4 done, 2 new" in said
    table = again.to_pandas()
    assert table["arm"].nunique() == 3
    assert set(table.groupby("arm")["seed"].nunique()) == {2}
    assert set(table["finished"]) == {True}
    assert {path: when for path, when in written(tmp_path).items() if path in before} == before
    with pytest.raises(ConfigError, match="was begun with random"):
        sweep(base, tmp_path, search="grid", resume=True)


def test_suggested_arms_join_while_the_sweep_runs_and_a_resume_adds_others(
    ray_local: Any, base: Config, tmp_path: Path
) -> None:
    first, said = sweep(base, tmp_path, search="optuna", samples=4)
    assert any("8 trials: 4 arms x 2 seeds, suggested one after another by Optuna" in line for line in said)
    assert (first.failed, first.unfinished) == ({}, ())
    table = first.to_pandas()
    assert table["arm"].nunique() == 4
    assert set(table.groupby("arm")["seed"].nunique()) == {2}
    assert set(table["finished"]) == {True}
    status = read_status(tmp_path)
    assert (status.done, len(status.trials)) == (8, 8)

    kept = json.loads((tmp_path / "search.json").read_text())
    assert (kept["search"], kept["samples"]) == ("optuna", 4)
    arms = list(dict.fromkeys(one["arm"] for one in kept["suggested"] if one["arm"]))
    assert arms == list(dict.fromkeys(trial.arm for trial in status.trials))
    configs = table.groupby("arm").first()
    for one in kept["suggested"]:
        found = configs.loc[one["arm"]]
        assert found["config/training/head_lr"] == float(f"{one['parameters']['training.head_lr']:.3g}")
        assert (found["config/selection/strategy"] == "random") == (one["parameters"]["arm"] == "random")

    before = written(tmp_path)
    same, said = sweep(base, tmp_path, resume=True)
    assert "Going on with the sweep: 8 done" in said
    assert written(tmp_path) == before
    assert len(same.trials) == 8

    more, said = sweep(base, tmp_path, samples=6, resume=True, max_concurrent=1)
    assert (more.failed, more.unfinished) == ({}, ())
    assert {path: when for path, when in written(tmp_path).items() if path in before} == before
    table = more.to_pandas()
    assert table["arm"].nunique() == 6
    assert len(table.groupby(["arm", "seed"])) == 12
    kept_now = json.loads((tmp_path / "search.json").read_text())
    assert kept_now["suggested"][: len(kept["suggested"])] == kept["suggested"]
    places = [json.loads((tmp_path / "runs" / one.trial / "arm.json").read_text())["place"] for one in more.trials]
    assert sorted(places) == list(range(12))


# tests/tune_spaces/test_suggestions.py has the same without a sweep.
@pytest.mark.slow
def test_one_after_another_a_sweep_is_suggested_the_same_arms_in_one_go_and_in_two(
    ray_local: Any, base: Config, tmp_path: Path
) -> None:
    whole, _ = sweep(base, tmp_path / "whole", search="optuna", samples=6, seeds=[0], max_concurrent=1)
    sweep(base, tmp_path / "parts", search="optuna", samples=5, seeds=[0], max_concurrent=1)
    parts, _ = sweep(base, tmp_path / "parts", samples=6, seeds=[0], max_concurrent=1, resume=True)
    assert [trial.trial for trial in parts.trials] == [trial.trial for trial in whole.trials]
    assert [trial.final_accuracy for trial in parts.trials] == [trial.final_accuracy for trial in whole.trials]


def fails(arm: str) -> Any:
    """A trial that fails for good if it is this arm's."""

    def run_trial(choice: dict[str, Any], **given: Any) -> None:
        from asvp.errors import DataError
        from asvp.tune_spaces import trainable

        class Broken:
            def read(self) -> None:
                raise DataError("is broken")

        trainable.run_trial({**choice, "given": Broken()} if choice["arm"] == arm else choice, **given)

    return run_trial


def test_an_arm_that_fails_is_suggested_no_more_and_the_others_go_on(
    ray_local: Any, base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "run_trial", fails("lr_0.2"))
    space = Space(seeds=(0,), axes={"proxy.lr": grid(0.1, 0.2, 0.3)})
    result, said = sweep(base, tmp_path, space, search="optuna", samples=5, max_concurrent=1)
    assert result.failed == {"lr_0.2-seed0": "is broken"}
    assert {trial.trial for trial in result.trials} == {"lr_0.1-seed0", "lr_0.2-seed0", "lr_0.3-seed0"}
    assert "3 different arms were found, not 5: further draws came to the same as those" in said


def test_a_dry_run_of_suggested_arms_tells_of_others_that_stand_for_them(base: Config, tmp_path: Path) -> None:
    said: list[str] = []
    plan = dry_run(SPACE, base, tmp_path / "out", search="optuna", samples=4, say=said.append)
    assert (plan.trials, len(plan.arms), plan.labels) == (8, 4, 8 * 30)
    assert said[-1].startswith("Which arms Optuna suggests depends on what earlier ones reach")
    assert not (tmp_path / "out").exists()
