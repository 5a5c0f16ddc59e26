"""How a sweep stands is told from its files, also of one that died."""

from __future__ import annotations

import fcntl
import json
import os
import time

import pytest

from asvp.errors import RunDirectoryError
from asvp.report.status import Planned
from asvp.report.status_files import read_status, write_planned
from asvp.report.status_table import progress_title, status_lines, status_table


@pytest.fixture
def sweep(tmp_path, write_run, a_round):
    """Two arms with two seeds of three rounds: one is finished, one failed, one was begun, one has not begun."""
    folder = tmp_path / "sweep"

    def rounds(count, final=None):
        spent = {"device_seconds": {"cpu": 1800.0, "gpu": 0.0}}
        return [
            a_round(i, 100 * (i + 1), proxy=0.4 + 0.1 * i, final=final if i == 2 else None, refreshed=i == 1, **spent)
            for i in range(count)
        ]

    write_run(folder / "runs" / "svp-seed0", arm="svp", rounds=rounds(3, 0.7))
    write_run(folder / "runs" / "svp-seed1", arm="svp", seed=1, rounds=rounds(2), finished=False)
    write_run(folder / "runs" / "asvp-seed0", arm="asvp", rounds=rounds(1), finished=False)
    failure = {"kind": "WorkError", "message": "the features are not finite"}
    (folder / "runs" / "asvp-seed0" / "failure.json").write_text(json.dumps(failure))
    trials = [Planned(f"{arm}-seed{seed}", arm, seed, (100, 100, 100)) for seed in (0, 1) for arm in ("svp", "asvp")]
    write_planned(folder, trials)
    return folder


def test_every_trial_of_a_sweep_is_told_with_what_its_rounds_say(sweep):
    found = {trial.trial: trial for trial in read_status(sweep).trials}
    assert {name: trial.state for name, trial in found.items()} == {
        "svp-seed0": "finished", "asvp-seed0": "failed", "svp-seed1": "begun", "asvp-seed1": "waiting",
    }  # fmt: skip
    done = found["svp-seed0"]
    assert (done.rounds, done.budget, done.labelled) == (3, (100, 100, 100), 300)
    assert (done.final_accuracy, done.refreshes, done.cpu_hours) == (0.7, 1, pytest.approx(1.5))
    # Three rounds of $4 for labels, $0.01 for sampling and $0.50 for evaluation.
    assert done.dollars == pytest.approx(3 * 4.51)
    assert found["asvp-seed0"].reason == "the features are not finite"
    assert (found["svp-seed1"].final_accuracy, found["svp-seed1"].proxy_accuracy) == (None, 0.5)


def test_the_table_and_the_whole_are_said(sweep):
    found = read_status(sweep)
    assert (found.done, len(found.trials), found.at_work) == (1, 4, False)
    assert progress_title(found.trials) == "1 of 4 trials finished, 6 of 12 rounds"
    table = status_table(found.trials)
    assert table.rows[0] == ("svp", "0", "3 of 3", "300", "0.700", "1", "1.50 CPU", "$13.53", "finished")
    assert table.rows[2][4] == "proxy 0.500"
    assert "asvp-seed0 failed: the features are not finite" in table.note
    (line,) = status_lines(found)
    assert line.startswith("1 failed, 1 begun, 1 waiting; no process is seen at work here; the last sign is ")


def test_rows_that_have_no_room_are_counted_and_finished_ones_go_first(sweep):
    table = status_table(read_status(sweep).trials, most=2)
    assert [row[-1] for row in table.rows] == ["failed", "begun"]
    assert table.note.startswith("and 1 waiting, 1 finished")


def test_a_run_whose_lock_is_held_is_running(sweep):
    lock = sweep / "runs" / "svp-seed1" / "checkpoint" / "lock"
    lock.parent.mkdir()
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        found = read_status(sweep)
        assert found.trials[2].state == "running"
        assert found.at_work
    assert read_status(sweep).trials[2].state == "begun"


def test_the_age_of_the_last_sign_is_that_of_the_newest_file(sweep):
    then = time.time() - 3600
    for path in sweep.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))
    assert read_status(sweep).silent_seconds == pytest.approx(3600, abs=60)


def test_a_sign_by_a_clock_that_is_ahead_is_of_now_and_hides_no_state(sweep):
    states = [trial.state for trial in read_status(sweep).trials]
    for path in sweep.rglob("*"):
        if path.is_file():
            os.utime(path, (time.time() + 600,) * 2)
    found = read_status(sweep)
    assert found.silent_seconds == 0
    assert [trial.state for trial in found.trials] == states


def test_a_run_alone_and_a_sweep_of_an_earlier_version_are_told_too(sweep):
    (trial,) = read_status(sweep / "runs" / "svp-seed0").trials
    assert (trial.arm, trial.seed, trial.rounds_planned, trial.state) == ("svp", 0, 3, "finished")
    (sweep / "trials.json").unlink()
    assert {trial.trial for trial in read_status(sweep).trials} == {"svp-seed0", "svp-seed1", "asvp-seed0"}


def test_a_finished_run_with_a_longer_budget_to_go_is_begun(sweep):
    write_planned(sweep, [Planned("svp-seed0", "svp", 0, (100,) * 5)])
    assert read_status(sweep).trials[0].state == "begun"


def test_a_broken_file_is_told_and_stops_nothing(sweep):
    (sweep / "runs" / "svp-seed1" / "rounds.jsonl").write_text("nonsense\n")
    found = read_status(sweep).trials[2]
    assert (found.state, found.rounds) == ("damaged", 0)
    assert "rounds.jsonl" in found.reason


def test_a_folder_that_is_neither_is_refused(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(RunDirectoryError, match="neither a run nor a sweep"):
            read_status(folder)
