"""What a timeline shows of the lines that runs have left, also of earlier versions, and of broken ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from traces import TRIALS, checked, of_workers

from asvp.errors import RunDirectoryError
from asvp.report.job_lines import JOBS, Begun, JobLine, read_jobs
from asvp.report.timeline import read_timeline
from asvp.spent import Span, Spent

START = 1_800_000_000.0


def job(number: int, what: str, began: float, ended: float, **more: Any) -> JobLine:
    """A job on worker "a", whose driver waited a second before."""
    spans = more.pop("spans", (Span(("a",), "10.0.0.1", START + began, START + ended, Spent(1.0, 2.0)),))
    told = {"stage": "select", "round": 0, "rows": 10, "spent": Spent(1.0, 2.0), **more}
    return JobLine("first", number, what, seconds=ended - began + 1, spans=spans, **told)


def write(folder: Path, lines: list[Begun | JobLine]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / JOBS).write_text("".join(json.dumps(line.to_json()) + "\n" for line in lines))
    (folder / "config.yaml").touch()
    return folder


def test_lines_are_read_as_they_were_written(tmp_path: Path) -> None:
    span = Span(("a", "b"), "10.0.0.1", START, START + 2.5, Spent(2.5, 5.0, 0.5), 3, died=True)
    lines = [
        JobLine(
            "first", 0, "final training", "train", 2, 40, Spent(3.0, 6.0), Spent(1.0, 2.0), 0.5, 4.0, (span,), True
        ),
        JobLine("first", 1, "extraction (pool)", "extract", None, 0),
    ]
    found = read_jobs(write(tmp_path / "run", [Begun("first", 1, (0,)), *lines]))
    assert found is not None
    assert (found.begun, list(found.jobs), found.unreadable) == ((Begun("first", 1, (0,)),), lines, 0)


def test_nodes_are_processes_and_their_workers_threads(tmp_path: Path) -> None:
    both = (
        Span(("a",), "10.0.0.1", START, START + 4, Spent(2.0, 2.0), 3),
        Span(("b", "c"), "10.0.0.2", START + 1, START + 3, Spent(2.0, 4.0), 2),
    )
    lines = [Begun("first"), job(0, "extraction (pool)", 0, 4, spans=both), job(1, "selection", 6, 7)]
    made = read_timeline(write(tmp_path / "run", lines))
    events = checked(json.dumps(made.trace))
    names = {(one["pid"], one["tid"]): one["args"]["name"] for one in made.trace["traceEvents"] if one["ph"] == "M"}
    assert {names[pid, 0] for pid, tid in names if not tid} == {"trials", "node 10.0.0.1", "node 10.0.0.2"}
    shown = {
        names[place]: [(e["name"], e["ts"], e["dur"]) for e in found] for place, found in of_workers(events).items()
    }
    # The driver began to wait a second before; that is where the trace begins.
    assert shown == {
        "worker a": [("extraction (pool)", 1_000_000, 4_000_000), ("selection", 7_000_000, 1_000_000)],
        "worker b": [("extraction (pool)", 2_000_000, 2_000_000)],
        "worker c": [("extraction (pool) (helps)", 2_000_000, 2_000_000)],
    }
    trial = [(one["name"], one["ts"], one["dur"]) for one in events if one["pid"] == TRIALS]
    assert trial == [
        ("round 0", 0, 8_000_000),
        ("extraction (pool)", 0, 5_000_000),
        ("selection", 6_000_000, 2_000_000),
    ]
    assert made.trace["otherData"] == {"first_event": "2027-01-15T07:59:59.000+00:00"}


def test_what_was_shared_takes_no_time_and_is_charged(tmp_path: Path) -> None:
    shared = job(0, "extraction (pool)", 0, 0, spans=(), saved=Spent(1.0, 2.0))
    events = checked(json.dumps(read_timeline(write(tmp_path / "run", [shared, job(1, "selection", 2, 3)])).trace))
    first = next(one for one in events if one["name"] == "extraction (pool)")
    assert (first["dur"], first["args"]["reused"], first["args"]["device_seconds"]["cpu"]) == (0, True, 2.0)


def test_final_models_that_overlap_lie_in_threads_of_their_own(tmp_path: Path) -> None:
    def beside(number: int, worker: str, began: float, ended: float) -> JobLine:
        span = Span((worker,), "10.0.0.1", START + began, START + ended)
        return job(number, "final training", began, ended, spans=(span,), beside=True)

    lines = [job(0, "selection", 0, 9), beside(1, "b", 2, 6), beside(2, "c", 4, 8), beside(3, "b", 8, 9)]
    made = read_timeline(write(tmp_path / "run", lines))
    events = checked(json.dumps(made.trace))
    names = {one["tid"]: one["args"]["name"] for one in made.trace["traceEvents"] if one["name"] == "thread_name"}
    lanes = [names[one["tid"]] for one in events if one["pid"] == TRIALS and one["name"] == "final training"]
    assert sorted(lanes) == ["run: final models", "run: final models", "run: final models 2"]


def test_a_run_of_an_earlier_version_is_told_with_what_to_do(tmp_path: Path, write_run: Any, a_round: Any) -> None:
    write_run(tmp_path / "old", arm="svp", rounds=[a_round(0, 100)])
    with pytest.raises(RunDirectoryError, match=rf"no {JOBS} there does.*earlier version"):
        read_timeline(tmp_path / "old")


def test_a_sweep_with_runs_of_an_earlier_version_says_which_are_left_out(
    tmp_path: Path, write_run: Any, a_round: Any
) -> None:
    runs = tmp_path / "sweep" / "runs"
    spent = {"device_seconds": {"cpu": 1.0, "gpu": 0.0}}
    write_run(runs / "old-seed0", arm="old", rounds=[a_round(0, 100, **spent)])
    write_run(runs / "half-seed0", arm="half", rounds=[a_round(number, 100, **spent) for number in range(2)])
    write(runs / "half-seed0", [Begun("second", 1), job(0, "selection", 0, 1, round=1)])
    write(runs / "new-seed0", [Begun("first"), job(0, "selection", 2, 3)])
    with (runs / "new-seed0" / JOBS).open("a") as file:
        file.write('{"attempt":"torn\n{"begun":-1}\n[]\n')
    made = read_timeline(tmp_path / "sweep")
    assert {one["args"]["trial"] for one in checked(json.dumps(made.trace))} == {"half-seed0", "new-seed0"}
    assert made.notes == (
        "Not in it, as an earlier version of asvp made them: old-seed0",
        "Of half-seed0 no jobs are told of in round 0",
        f"3 lines of {JOBS} cannot be read, and are left out",
    )


@pytest.mark.parametrize(
    "change",
    [
        {"spans": [{"workers": ["a"], "node": "n", "began": 2.0, "ended": 1.0}]},
        {"spans": [{"workers": ["a"], "node": "n", "began": 1.0, "ended": 1e300}]},
        {"spans": [{"workers": [], "node": "n", "began": 1.0, "ended": 2.0}]},
        {"spans": 3},
        {"rows": -1},
        {"round": 1.5},
        {"spent": [1.0]},
        {"spent": [float("nan"), 1.0, 1.0]},
        {"spent": [1.0] * 4},
    ],
)
def test_a_line_that_no_version_writes_is_no_job(tmp_path: Path, change: dict[str, Any]) -> None:
    line = {**job(0, "selection", 0, 1).to_json(), **change}
    (tmp_path / JOBS).write_text(json.dumps(line))
    found = read_jobs(tmp_path)
    assert found is not None
    assert (found.jobs, found.unreadable) == ((), 1)
