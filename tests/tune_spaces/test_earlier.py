"""What rounds took in earlier runs, read from their files."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_config

from asvp.compute.processor import processor
from asvp.config import Config, build_config
from asvp.driver.loop import run
from asvp.tune_spaces.earlier import loop_key, round_seconds, runs_beside


def leave(folder: Path, config: Config, *rounds: tuple[float, float, float], **machine: Any) -> Path:
    """What a run leaves, as far as it is read: seconds of proxy, indicator and picks in each round."""
    folder.mkdir(parents=True)
    (folder / "environment.json").write_text(json.dumps({"processor": processor(), "gpus": [], **machine}))
    (folder / "config.yaml").write_text(config.to_yaml())
    told = [
        {"seconds": {"extract": 99.0, "proxy": proxy, "indicator": indicator, "select": select, "finetune": 99.0}}
        for proxy, indicator, select in rounds
    ]
    (folder / "rounds.jsonl").write_text("".join(f"{json.dumps(one)}\n" for one in told))
    return folder


def key(config: Config) -> str:
    return loop_key(config.model_dump(mode="json"))


def test_rounds_are_averaged_over_runs_alike(tmp_path: Path) -> None:
    config = build_config({"mode": "svp"})
    other = build_config({"mode": "svp", "selection": {"strategy": "badge"}})
    folders = [
        leave(tmp_path / "a", config, (1.0, 0.0, 2.0), (2.0, 0.5, 3.0)),
        leave(tmp_path / "b", config.model_copy(update={"seed": 5, "budget": [7]}), (0.5, 0.0, 0.0)),
        leave(tmp_path / "c", other, (1.0, 0.0, 9.0)),
    ]
    assert round_seconds(folders, gpu=False) == {key(config): pytest.approx((3.0 + 5.5 + 0.5) / 3), key(other): 10.0}


@pytest.mark.parametrize(
    "changes",
    [
        {"data": {"limit": 10}},
        {"encoder": {"max_length": 8}},
        {"proxy": {"epochs": 3}},
        {"selection": {"wrap": [{"subsample": {"rows": 5}}]}},
        {"mode": "standard"},
        {"refresh": {"features": "aligned"}},
        {"refresh": {"policy": "every", "every": 2}},
    ],
)
def test_rounds_of_another_kind_have_another_key(changes: dict[str, Any]) -> None:
    assert key(build_config(changes)) != key(build_config({}))


@pytest.mark.parametrize("changes", [{"seed": 3}, {"budget": 9}, {"encoder": {"dtype": "float32"}}, {"cost": {}}])
def test_what_makes_no_difference_is_not_in_the_key(changes: dict[str, Any]) -> None:
    assert key(build_config(changes)) == key(build_config({}))


def test_other_machines_and_files_that_cannot_be_read_are_passed_over(tmp_path: Path) -> None:
    config = build_config({})
    leave(tmp_path / "gpu", config, (1.0, 0.0, 0.0), gpus=["H100"])
    leave(tmp_path / "elsewhere", config, (1.0, 0.0, 0.0), processor="another")
    leave(tmp_path / "young", config)
    for name, file, content in (
        ("broken", "rounds.jsonl", "{"),
        ("old", "rounds.jsonl", '{"seconds": {"proxy": 1.0}}'),
        ("empty", "config.yaml", ""),
        ("listed", "environment.json", "[]"),
    ):
        (leave(tmp_path / name, config, (1.0, 0.0, 0.0)) / file).write_text(content)
    folders = [*sorted(tmp_path.iterdir()), tmp_path / "missing"]
    assert round_seconds(folders, gpu=False) == {}
    assert round_seconds(folders, gpu=True) == {key(config): 1.0}


def test_runs_beside_a_sweep_are_found_the_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [tmp_path / "sweeps" / "first" / "runs" / "svp-seed0", tmp_path / "runs" / "alone"]
    for age, folder in enumerate(folders):
        leave(folder, build_config({}), (1.0, 0.0, 0.0))
        os.utime(folder / "rounds.jsonl", (age, age))
    assert [folder.name for folder in runs_beside(tmp_path / "sweeps" / "next")] == ["alone", "svp-seed0"]
    assert runs_beside(tmp_path / "nowhere" / "next")[0].name == "alone"


def test_a_run_tells_what_its_rounds_took(tmp_path: Path) -> None:
    config = tiny_config(tmp_path)
    result = run(config, out=tmp_path / "sweeps" / "one" / "runs" / "svp-seed0", in_process=True)
    seconds = [sum(one["seconds"][stage] for stage in ("proxy", "indicator", "select")) for one in result.rounds]
    found = round_seconds(runs_beside(tmp_path / "sweeps" / "two"), gpu=False)
    assert found == {key(config): pytest.approx(sum(seconds) / 3)}
