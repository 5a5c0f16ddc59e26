"""Sweeps that are logged: real ones, whose event files are read back."""

from __future__ import annotations

import errno
import json
import os
import shutil
from itertools import accumulate
from pathlib import Path
from typing import Any

import pytest
from event_files import curves, parameters, sessions
from recording import Told
from tiny_runs import tiny_config

from asvp.config import Config
from asvp.errors import StorageError
from asvp.tune_spaces.loggers.tensorboard import TensorBoard
from asvp.tune_spaces.space import Space, Trial, trials
from asvp.tune_spaces.sweep import run_sweep

ARMS = {"svp": {}, "few": {"budget": "20+5x2"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    training = {"evaluate_at": "every", "method": "lp", "keep": "none"}
    return tiny_config(folder, extraction={"cache": str(folder / "cache")}, training=training)


def of(base: Config, *arms: str, seeds: tuple[int, ...] = (0,)) -> list[Trial]:
    return list(trials(Space({arm: ARMS[arm] for arm in arms}, seeds), base.model_dump()))


def sweep(chosen: list[Trial], out: Path, **given: Any) -> tuple[Any, list[str]]:
    told = Told()
    return run_sweep(chosen, out, **{"resume": False, "address": None, **given}, reporter=told), told.lines


@pytest.fixture(scope="module")
def finished(ray_local: Any, base: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("sweep") / "out"
    result, _ = sweep(of(base, "svp", "few"), out)
    assert result.failed == {}
    return out


def told_by(run: Path) -> dict[str, list[tuple[int, float]]]:
    """The curves that a run's own file tells of."""
    rounds = [json.loads(line) for line in (run / "rounds.jsonl").read_text().splitlines()]
    labels = [one["labelled"] for one in rounds]
    values = {
        "accuracy/proxy": [one["proxy_accuracy"] for one in rounds],
        "accuracy/final": [one["final_accuracy"] for one in rounds],
        "macro_f1/final": [one["final_macro_f1"] for one in rounds],
        "features/version": [one["feature_version"] for one in rounds],
        "cost/dollars": accumulate(one["cost"]["total"] for one in rounds),
        "cost/cpu_seconds": accumulate(one["device_seconds"]["cpu"] for one in rounds),
        "cost/gpu_seconds": accumulate(one["device_seconds"]["gpu"] for one in rounds),
    }
    return {name: list(zip(labels, each, strict=True)) for name, each in values.items()}


def same(found: dict[str, list[tuple[int, float]]], expected: dict[str, list[tuple[int, float]]]) -> bool:
    assert set(found) == set(expected)
    for name, curve in expected.items():
        assert [labels for labels, _ in found[name]] == [labels for labels, _ in curve], name
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in curve], rel=1e-5, abs=1e-6)
    return True


def test_every_trial_has_the_curves_of_its_rounds_over_the_labels_bought(finished: Path) -> None:
    for name, last in (("svp-seed0", 40), ("few-seed0", 30)):
        folder = finished / "tensorboard" / name
        assert same(curves(folder), told_by(finished / "runs" / name))
        assert curves(folder)["accuracy/final"][-1][0] == last
        assert sessions(folder)[-1].HasField("session_end_info")
    assert parameters(finished / "tensorboard" / "few-seed0") == {"arm": "few", "seed": 0.0, "budget": "[20, 5, 5]"}


def test_a_resume_doubles_no_point_and_adds_what_is_new_or_missing(
    finished: Path, base: Config, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished, out)
    shutil.rmtree(out / "tensorboard" / "few-seed0")
    longer = base.model_copy(update={"budget": [*base.budget, 5]})
    sweep(of(longer, "svp", "few"), out, resume=True)
    assert len(list((out / "tensorboard" / "svp-seed0").iterdir())) == 2
    for name in ("svp-seed0", "few-seed0"):
        assert same(curves(out / "tensorboard" / name), told_by(out / "runs" / name))


def test_a_sweep_that_is_finished_gets_its_files_at_a_resume_and_without_a_logger_there_are_none(
    ray_local: Any, base: Config, tmp_path: Path
) -> None:
    chosen = of(base, "few")
    sweep(chosen, tmp_path, log=())
    assert not (tmp_path / "tensorboard").exists()
    sweep(chosen, tmp_path, resume=True)
    assert same(curves(tmp_path / "tensorboard" / "few-seed0"), told_by(tmp_path / "runs" / "few-seed0"))


def test_a_mistake_in_a_logger_stops_no_trial(
    ray_local: Any, base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any) -> None:
        raise ZeroDivisionError("oh")

    monkeypatch.setattr(TensorBoard, "write", fails)
    result, said = sweep(of(base, "few"), tmp_path)
    assert (result.failed, result.unfinished) == ({}, ())
    [line] = [line for line in said if "logged" in line]
    assert line == "Warning: nothing more is logged to tensorboard, and the sweep goes on: ZeroDivisionError: oh"


def test_a_disk_that_is_full_for_event_files_stops_the_sweep_and_fails_no_trial(
    ray_local: Any, base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(path: Path, mode: str = "r", *given: Any, **more: Any) -> Any:
        if ".tfevents." in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, mode, *given, **more)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(StorageError, match=r"tfevents.*disk is full.*--resume"):
            sweep(of(base, "svp"), tmp_path)
    assert not list(tmp_path.glob("runs/*/failure.json"))
    result, _ = sweep(of(base, "svp"), tmp_path, resume=True)
    assert (result.failed, result.unfinished) == ({}, ())
    assert same(curves(tmp_path / "tensorboard" / "svp-seed0"), told_by(tmp_path / "runs" / "svp-seed0"))
