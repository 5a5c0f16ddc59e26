"""A run keeps its jobs as they end, and the timeline of them tells what the ledger tells."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from recording import Recording, Told
from tiny_runs import tiny_config
from traces import booked, charged, checked, of_workers

from asvp.compute import Done, Job
from asvp.compute.jobs import EvaluateJob
from asvp.config import Config
from asvp.driver.loop import run
from asvp.errors import SupersededError
from asvp.record.job_log import JobLog
from asvp.report.job_lines import JOBS, read_jobs
from asvp.report.timeline import read_timeline


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Three rounds with a refresh after the first, and a final model after each."""
    return tiny_config(
        tmp_path_factory.mktemp("tiny"),
        mode="asvp",
        refresh={"policy": "at", "at": [20]},
        training={"epochs": 1, "batch_size": 32, "evaluate_at": "every"},
    )


def drawn(out: Path) -> list[dict[str, Any]]:
    return checked(json.dumps(read_timeline(out).trace))


class Mortal(Recording):
    """Dies when it is asked for a certain evaluation."""

    def __init__(self, config: Config, evaluations: int) -> None:
        super().__init__(config)
        self._left = evaluations

    def do(self, job: Job) -> Done[Any]:
        self._left -= isinstance(job, EvaluateJob)
        if self._left == 0:
            raise KeyboardInterrupt
        return super().do(job)


def test_a_runs_timeline_has_its_rounds_and_stages_and_sums_to_the_ledger(config: Config, tmp_path: Path) -> None:
    result = run(config, out=tmp_path / "run", in_process=True)
    timeline = read_timeline(tmp_path / "run")
    assert timeline.notes == ()
    events = checked(json.dumps(timeline.trace))
    rounds = [one for one in events if one["cat"] == "round"]
    assert [(one["name"], one["args"]["labelled"], one["args"]["refreshed"]) for one in rounds] == [
        ("round 0", 20, True),
        ("round 1", 30, False),
        ("round 2", 40, False),
    ]
    assert {one["name"] for one in events} - {one["name"] for one in rounds} == {
        "extraction (pool)", "extraction (test)", "selection", "look at picks", "proxy training", "evaluation",
        "refresh", "final training", "indicator",
    } - ({"indicator"} if not any(one["logme"] for one in result.rounds) else set())  # fmt: skip
    assert charged(events, "run") == pytest.approx(booked(result.rounds), abs=1e-3)
    (worker,) = of_workers(events).values()
    assert len(worker) == timeline.jobs == len({one["args"]["job"] for one in worker})
    picked = [one["args"]["rows"] for one in worker if one["name"] == "selection"]
    assert picked == [20, 10, 10]


def test_a_run_that_died_and_went_on_has_appended_and_nothing_counts_twice(config: Config, tmp_path: Path) -> None:
    # Two evaluations a round, the proxy's and the final model's, and one more where the features are refreshed.
    with pytest.raises(KeyboardInterrupt):
        run(config, out=tmp_path / "run", backend=Mortal(config, 4))
    before = (tmp_path / "run" / JOBS).read_bytes()
    result = run(config, out=tmp_path / "run", in_process=True, resume=True)
    after = (tmp_path / "run" / JOBS).read_bytes()
    assert after.startswith(before)
    assert len(after) > len(before)
    found = read_jobs(tmp_path / "run")
    assert found is not None
    assert [one.rounds for one in found.begun] == [0, 1]
    # The second round was begun by both, and what was taken up is charged to nobody.
    lost = {(job.attempt, job.round) for job in found.jobs if job.lost}
    assert lost == {(found.begun[0].attempt, 1)}
    again = [job.what for job in found.jobs if job.round is None]
    assert set(again) == {"extraction (pool)", "extraction (test)", "proxy training", "evaluation"}
    events = drawn(tmp_path / "run")
    names = [one["name"] for one in events if one["cat"] == "round"]
    assert names == ["round 0", "round 1", "taking up", "round 1", "round 2"]
    assert charged(events, "run") == pytest.approx(booked(result.rounds), abs=1e-3)


def test_a_disk_that_takes_no_line_is_told_of_once_and_ends_no_run(config: Config, tmp_path: Path) -> None:
    (tmp_path / JOBS).mkdir()
    told = Told()
    log = JobLog(tmp_path, say=told.say)
    for _ in range(2):
        log.note("selection", "select", 10)
    assert len(told.lines) == 1
    assert f"{JOBS} cannot be written" in told.lines[0]


def test_a_line_that_was_left_half_takes_no_other_with_it(tmp_path: Path) -> None:
    first, second = JobLog(tmp_path), JobLog(tmp_path)
    first.note("selection", "select", 10)
    with (tmp_path / JOBS).open("a") as file:
        file.write('{"attempt":"kil')
    second.go_on(0, ())
    second.round = 0
    second.note("selection", "select", 20)
    found = read_jobs(tmp_path)
    assert found is not None
    assert [(job.rows, job.lost) for job in found.jobs] == [(10, True), (20, False)]
    assert found.unreadable == 1


def test_a_process_whose_directory_was_taken_over_adds_nothing(tmp_path: Path) -> None:
    def refuse() -> None:
        raise SupersededError("a newer process has taken over")

    with pytest.raises(SupersededError):
        JobLog(tmp_path, require=refuse).note("selection", "select", 10)
    assert not (tmp_path / JOBS).exists()
