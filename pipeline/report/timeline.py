"""A run's or a sweep's jobs as a Chrome trace, which ui.perfetto.dev and chrome://tracing open.

A process of the trace is a node, its threads are the workers there. The first process holds the trials: a thread for
the rounds and stages of each, and more where its final models were made beside the loop.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from pathlib import Path
from typing import Any

from asvp.errors import RunDirectoryError
from asvp.files import parse_json
from asvp.report.job_lines import JOBS, JobLine, Jobs, read_jobs
from asvp.report.status_files import run_folders
from asvp.spent import Spent

TIMELINE = "timeline.json"
"""Where it is written, in the directory of the run or sweep, unless somebody says otherwise."""

_SHARED = "all trials"
_TRIALS = 1
"""Number of the trace's process that holds the trials; nodes come after it."""


@dataclass(frozen=True)
class Timeline:
    """A trace, and what is to be said of it.

    Attributes
    ----------
    trace : dict
        For JSON.
    jobs : int
    notes : tuple of str
        What is missing in it, a line each.
    """

    trace: dict[str, Any]
    jobs: int
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Event:
    """Something that took its time: `began` and `ended` in seconds since 1970."""

    process: str
    thread: str
    name: str
    category: str
    began: float
    ended: float
    args: Mapping[str, Any]


def read_timeline(folder: Path) -> Timeline:
    """The jobs of a run or a sweep.

    Raises
    ------
    RunDirectoryError
        If the folder is neither, or tells of no job that took time.
    """
    folders = run_folders(folder)
    shared = read_jobs(folder) if folder not in folders.values() else None
    told = {name: read_jobs(path) for name, path in folders.items()}
    events = [] if shared is None else list(_of_workers(_SHARED, shared.jobs))
    for name, jobs in told.items():
        if jobs is not None:
            events += [*_of_workers(name, jobs.jobs), *_of_trial(name, jobs, folders[name])]
    if not events:
        raise RunDirectoryError(
            f"tells of no jobs: no {JOBS} there does. An earlier version of asvp made it, or no job has ended yet",
            key="DIR",
            value=str(folder),
            mend="Leave --timeline out; a run that is begun, or goes on, with this version keeps its jobs",
        )
    known = [one for one in (shared, *told.values()) if one is not None]
    return Timeline(_trace(events), sum(len(one.jobs) for one in known), tuple(_notes(told, known, folders)))


def _notes(told: Mapping[str, Jobs | None], known: Sequence[Jobs], folders: Mapping[str, Path]) -> Iterator[str]:
    """What the trace does not show."""
    none = [name for name, jobs in told.items() if jobs is None and _rounds(folders[name])]
    if none:
        yield f"Not in it, as an earlier version of asvp made them: {_some(none)}"
    for name, jobs in told.items():
        there = {job.round for job in jobs.jobs} if jobs is not None else set()
        missing = [number for number in _rounds(folders[name]) if number not in there] if jobs is not None else []
        if missing:
            yield f"Of {name} no jobs are told of in round {_some(map(str, missing))}"
    unreadable = sum(one.unreadable for one in known)
    if unreadable:
        yield f"{unreadable} lines of {JOBS} cannot be read, and are left out"


def _some(names: Iterable[str], most: int = 5) -> str:
    shown = list(names)
    return ", ".join(shown[:most]) + (f" and {len(shown) - most} more" if len(shown) > most else "")


def _of_workers(trial: str, jobs: Sequence[JobLine]) -> Iterator[_Event]:
    """What each worker did, and for which job the others were lent."""
    for job in jobs:
        for span in job.spans:
            for place, worker in enumerate(span.workers):
                args = {**_known(trial, job), "device_seconds": _devices(span.spent)}
                if span.shards:
                    args["shards"] = span.shards
                if span.died:
                    args["died"] = True
                if place:
                    # The first tells what all of them spent.
                    args |= {"helps": span.workers[0], "device_seconds": _devices(Spent())}
                name = job.what if not place else f"{job.what} (helps)"
                yield _Event(span.node, worker, name, job.stage, span.began, span.ended, args)


def _of_trial(trial: str, jobs: Jobs, folder: Path) -> Iterator[_Event]:
    """The rounds of a trial and the stages in them, and beside them its final models."""
    rounds, placed = _rounds(folder), _placed(jobs.jobs)
    loop = [one for one in placed if not one[0].beside]
    for (_, number), group in groupby(loop, key=lambda one: (one[0].attempt, one[0].round)):
        of_round = list(group)
        name = "taking up" if number is None else f"round {number}"
        args = {"trial": trial, "round": number, **(rounds.get(number, {}) if number is not None else {})}
        if any(job.lost for job, _, _ in of_round):
            args = {"trial": trial, "round": number, "lost": True}
        yield _Event("", trial, name, "round", of_round[0][1], max(ended for *_, ended in of_round), args)
    for job, began, ended in loop:
        yield _Event("", trial, job.what, job.stage, began, ended, _charged(trial, job))
    lanes: list[float] = []
    for job, began, ended in sorted((one for one in placed if one[0].beside), key=lambda one: one[1]):
        lane = next((place for place, free in enumerate(lanes) if free <= began), len(lanes))
        lanes[lane:] = [ended] if lane == len(lanes) else [ended, *lanes[lane + 1 :]]
        thread = f"{trial}: final models{f' {lane + 1}' if lane else ''}"
        yield _Event("", thread, job.what, job.stage, began, ended, _charged(trial, job))


def _placed(jobs: Sequence[JobLine]) -> list[tuple[JobLine, float, float]]:
    """Jobs with when the driver began to wait for them and when they ended; what nobody worked at takes no time."""
    placed: list[tuple[JobLine, float, float]] = []
    waiting: list[JobLine] = []
    last = 0.0
    for job in jobs:
        if not job.spans:
            waiting.append(job)
            continue
        ended = max(span.ended for span in job.spans)
        # A loop waits for one job after the other, and no two seconds are counted twice.
        began = ended - job.seconds
        if not job.beside:
            began, last = min(max(began, last), ended), ended
        placed += [(one, began, began) for one in waiting] + [(job, began, ended)]
        waiting = []
    end = max((ended for *_, ended in placed), default=None)
    return placed if end is None else placed + [(one, end, end) for one in waiting]


def _known(trial: str, job: JobLine) -> dict[str, Any]:
    told: dict[str, Any] = {"trial": trial, "round": job.round, "job": f"{job.attempt}.{job.number}", "rows": job.rows}
    return {**told, "reused": job.reused, **({"lost": True} if job.lost else {})}


def _charged(trial: str, job: JobLine) -> dict[str, Any]:
    """What the ledger counts: work that is reused as if it had been done here, and nothing twice."""
    free = job.lost or job.round is None
    told = {"device_seconds": _devices(Spent() if free else job.spent), "saved_seconds": job.saved.seconds}
    return {**_known(trial, job), **told, "waited_seconds": job.waited}


def _devices(spent: Spent) -> dict[str, float]:
    return {"cpu": spent.cpu_seconds, "gpu": spent.gpu_seconds}


def _rounds(folder: Path) -> dict[int, dict[str, Any]]:
    """What is told of each finished round; of a line that cannot be read nothing."""
    try:
        lines = (folder / "rounds.jsonl").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return {}
    found: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            one = parse_json(line)
            number, devices, other = one["round"], one["device_seconds"], one["seconds"]["other"]
            told = {
                "labelled": int(one["labelled"]),
                "strategy": str(one["strategy"]),
                "refreshed": bool(one["refreshed"]),
                "device_seconds": {"cpu": float(devices["cpu"]), "gpu": float(devices["gpu"])},
                "driver_seconds": float(other),
            }
        except (ValueError, TypeError, KeyError, OverflowError):
            continue
        if type(number) is int:
            found[number] = told
    return found


def _trace(events: Sequence[_Event]) -> dict[str, Any]:
    """In the form of Chrome's traces: microseconds since the first event, and names for processes and threads."""
    first = min(event.began for event in events)
    nodes = dict.fromkeys(sorted({event.process for event in events if event.process}))
    processes = {"": _TRIALS, **{node: place for place, node in enumerate(nodes, start=_TRIALS + 1)}}
    threads: dict[tuple[str, str], int] = {}
    for event in events:
        threads.setdefault((event.process, event.thread), len(threads) + 1)
    named = [
        _metadata("process_name", number, 0, "trials" if not node else f"node {node}")
        for node, number in processes.items()
    ]
    for (process, thread), number in threads.items():
        name = f"worker {thread}" if process else thread
        named.append(_metadata("thread_name", processes[process], number, name))
    drawn = []
    # Of two that begin together the longer is the outer one.
    for event in sorted(events, key=lambda one: (one.began, -one.ended)):
        begins, ends = (round((stamp - first) * 1e6) for stamp in (event.began, event.ended))
        place = {"pid": processes[event.process], "tid": threads[event.process, event.thread]}
        time = {"ts": begins, "dur": ends - begins}
        drawn.append({"ph": "X", "name": event.name, "cat": event.category, **place, **time, "args": dict(event.args)})
    stamp = datetime.fromtimestamp(first, UTC).isoformat(timespec="milliseconds")
    return {"traceEvents": [*named, *drawn], "displayTimeUnit": "ms", "otherData": {"first_event": stamp}}


def _metadata(what: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": process, "tid": thread, "args": {"name": name}}
