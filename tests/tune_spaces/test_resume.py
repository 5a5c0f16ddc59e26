"""A sweep that goes on: what is done is left alone, what failed stays so, and what is new joins."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from forked import Forked
from recording import Told
from tiny_runs import picks, tiny_config, wait_until

from asvp.config import Config
from asvp.driver.loop import run
from asvp.errors import RunDirectoryError, StorageError, WorkError
from asvp.holds import held
from asvp.tune_spaces import trainable, tuning
from asvp.tune_spaces.space import Space, Trial, trials
from asvp.tune_spaces.sweep import run_sweep

ARMS: dict[str, Any] = {
    "svp": {},
    "random": {"selection": {"strategy": "random"}},
    # A learning rate at which the weights overflow, so that the refreshed features are not finite.
    "broken": {"mode": "asvp", "refresh": {"policy": "at", "at": [20]}, "training": {"lr": 1e30, "head_lr": 1e30}},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_config(folder, extraction={"cache": str(folder / "cache")}, training={"keep": "best"})


def of(base: Config, *arms: str, seeds: tuple[int, ...] = (0,)) -> list[Trial]:
    return list(trials(Space({arm: ARMS[arm] for arm in arms}, seeds), base.model_dump()))


def sweep(chosen: list[Trial], out: Path, **given: Any) -> tuple[Any, list[str]]:
    told = Told()
    return run_sweep(chosen, out, **{"resume": True, "address": None, **given}, reporter=told), told.lines


def times(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_sweep_grows_at_a_resume_and_what_was_done_or_failed_stays_as_it_is(
    ray_local: Any, base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = sweep(of(base, "svp", "broken"), tmp_path, resume=False)
    assert set(first.failed) == {"broken-seed0"} == set(first.unfinished)
    reason = first.failed["broken-seed0"]
    assert "not finite" in reason
    runs = tmp_path / "runs"
    told = json.loads((runs / "broken-seed0" / "failure.json").read_text())
    assert told == {"kind": "WorkError", "message": reason}

    before = times(runs)
    second, said = sweep(of(base, "svp", "broken", "random", seeds=(0, 1)), tmp_path)
    assert said[2] == ("Going on with the sweep: 1 done, 4 new, 1 failed before (--retry-failed tries them again)")
    # Of the three that are finished now one has the model.
    kept = [path.parent.name for path in runs.glob("*/model")]
    accuracy = {
        path.parent.name: json.loads(path.read_text())["final_accuracy"] for path in runs.glob("*/summary.json")
    }
    assert len(accuracy) == 4
    assert [accuracy[name] for name in kept] == [max(accuracy.values())]
    assert {path: when for path, when in times(runs).items() if path in before} == {
        path: when for path, when in before.items() if path.exists()
    }
    assert second.failed["broken-seed0"] == reason
    assert set(second.failed) == {"broken-seed0", "broken-seed1"}
    table = second.to_pandas()
    assert set(table[table["finished"]]["trial"]) == {"svp-seed0", "svp-seed1", "random-seed0", "random-seed1"}

    def no_pool(*_: Any) -> Any:
        raise AssertionError("a pool was started though there is nothing to do")

    with monkeypatch.context() as patched:
        patched.setattr("asvp.tune_spaces.sweep.worker_pool", no_pool)
        third, said = sweep(of(base, "svp", "broken", seeds=(0, 1)), tmp_path)
    assert said[2].startswith("Going on with the sweep: 2 done, 2 failed before")
    assert set(third.failed) == {"broken-seed0", "broken-seed1"}

    fourth, said = sweep(of(base, "svp", "broken"), tmp_path, retry_failed=True)
    assert said[2] == "Going on with the sweep: 1 done, 1 tried again"
    assert fourth.failed == {"broken-seed0": reason}
    assert (runs / "broken-seed0" / "failure.json").exists()


def full_after(writes: int) -> Any:
    """A trial whose disk is full after so many files."""

    def run_trial(choice: dict[str, Any], **given: Any) -> None:
        from asvp.tune_spaces import trainable

        left, real = [writes], os.fsync

        def fsync(descriptor: int) -> None:
            if left[0] == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            left[0] -= 1
            real(descriptor)

        os.fsync = fsync
        try:
            trainable.run_trial(choice, **given)
        finally:
            os.fsync = real

    return run_trial


def test_a_full_disk_stops_the_sweep_names_it_and_fails_no_trial_for_good(
    ray_local: Any, base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = of(base, "svp", "random")
    monkeypatch.setattr(tuning, "run_trial", full_after(9))
    with pytest.raises(StorageError, match=r"disk is full.*--resume"):
        sweep(chosen, tmp_path, resume=False)
    monkeypatch.undo()
    assert not list(tmp_path.glob("runs/*/failure.json"))
    assert len(list(tmp_path.glob("runs/*/checkpoint/state.json"))) > 0
    result, said = sweep(chosen, tmp_path)
    assert said[2] == "Going on with the sweep: 2 go on"
    assert (result.failed, result.unfinished) == ({}, ())
    for trial in chosen:
        run(trial.config, out=tmp_path / "alone" / trial.name, in_process=True)
        assert picks(tmp_path / "runs" / trial.name) == picks(tmp_path / "alone" / trial.name)


@pytest.mark.parametrize(
    ("error", "stops"),
    [
        (StorageError("the storage has gone away"), True),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), True),
        (RuntimeError("torch: unexpected write: No space left on device"), True),
        (OSError(errno.EACCES, os.strerror(errno.EACCES)), False),
        (WorkError("the loss is not finite"), False),
    ],
)
def test_whoever_meets_a_full_disk_stops_the_sweep(error: Exception, stops: bool) -> None:
    assert trainable._has_no_room(error) is stops


# tests/features/test_cache.py has writers of one key in several processes.
@pytest.mark.slow
def test_two_sweeps_at_once_with_one_cache_end_as_each_alone(ray_local: Any, tmp_path: Path) -> None:
    base = tiny_config(tmp_path, extraction={"cache": str(tmp_path / "cache")}, workers={"count": 1, "cpus": 1})
    config, space = tmp_path / "config.yaml", tmp_path / "space.yaml"
    config.write_text(base.to_yaml())
    arms = {"svp": {}, "standard": {"mode": "standard"}}
    space.write_text(yaml.safe_dump({"arms": arms, "seeds": [0]}))
    words = ["-m", "asvp", "sweep", str(space), str(config), "--out", str(tmp_path / "other"), "--address", "local"]
    other = Forked(*words, cwd=tmp_path, start_new_session=True)
    chosen = list(trials(Space(arms, (0,)), base.model_dump()))
    result, _ = sweep(chosen, tmp_path / "here", resume=False)
    wait_until(lambda: other.poll() is not None, 120)
    assert other.returncode == 0, other.communicate(1)
    assert result.failed == {}
    for trial in chosen:
        alone = trial.config.model_copy(update={"extraction": base.extraction.model_copy(update={"cache": None})})
        run(alone, out=tmp_path / trial.name, in_process=True)
        for out in ("here", "other"):
            assert picks(tmp_path / out / "runs" / trial.name) == picks(tmp_path / trial.name)
    assert not list((tmp_path / "cache").rglob("*.tmp"))


def test_a_sweep_that_is_at_work_is_not_begun_a_second_time(base: Config, tmp_path: Path) -> None:
    (tmp_path / "runs" / "svp-seed0").mkdir(parents=True)
    (tmp_path / ".asvp.json").write_text(json.dumps({"asvp": "1", "kind": "sweep", "files": {}}))
    with held(tmp_path, tmp_path), pytest.raises(RunDirectoryError, match="another process is at work"):
        sweep(of(base, "svp"), tmp_path)
