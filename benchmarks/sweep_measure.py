"""What the benchmarks of sweeps measure with: run directories read back, processes watched, results written."""

from __future__ import annotations

import json
import os
import platform
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

TRIAL_TITLE = "ray::ImplicitFunc"
"""What Ray calls the process of a trial."""


@dataclass(frozen=True)
class TrialSpent:
    """What a run directory tells of a trial, finished or not.

    Attributes
    ----------
    began, ended : float
        Seconds since the epoch: its driver was up, and what it wrote last.
    busy : float
        Seconds in which workers were at work for it; what others had done already is left out.
    own : float
        Seconds of the driver itself.
    saved : float
        Seconds that others had spent already.
    waited : float
        Seconds in the queue.
    cpu, gpu : float
        Core-seconds and GPU-seconds of that work, with what others had done already.
    finetunes : int
        Refreshes and final models that it asked for.
    rounds : int
        Closed.
    finished : bool
    """

    name: str
    began: float
    ended: float
    busy: float
    own: float
    saved: float
    waited: float
    cpu: float
    gpu: float
    finetunes: int
    rounds: int
    finished: bool


def trials_in(sweep: Path) -> list[TrialSpent]:
    """All trials of a sweep that closed a round; runs of older versions tell less, and count as 0 there."""
    folders = sorted((sweep / "runs").glob("*/rounds.jsonl"))
    return [_trial(place.parent) for place in folders if place.stat().st_size]


def _trial(folder: Path) -> TrialSpent:
    rounds = [json.loads(line) for line in (folder / "rounds.jsonl").read_text(encoding="utf-8").splitlines()]
    summary = folder / "summary.json"
    last = summary if summary.exists() else folder / "rounds.jsonl"
    seconds = [record.get("seconds", {}) for record in rounds]
    own = sum(one.get("other", 0.0) for one in seconds)
    saved = sum(record.get("saved_seconds", 0.0) for record in rounds)
    devices = [record.get("device_seconds", {}) for record in rounds]
    put_aside = sum("put aside" in (record.get("refresh_reason") or "") for record in rounds)
    return TrialSpent(
        name=folder.name,
        began=(folder / "arm.json").stat().st_mtime,
        ended=last.stat().st_mtime,
        busy=sum(sum(one.values()) for one in seconds) - own - saved,
        own=own,
        saved=saved,
        waited=sum(record.get("waiting_seconds", 0.0) for record in rounds),
        cpu=sum(one.get("cpu", 0.0) for one in devices),
        gpu=sum(one.get("gpu", 0.0) for one in devices),
        finetunes=sum(record["refreshed"] for record in rounds)
        + put_aside
        + sum(record["final_accuracy"] is not None for record in rounds),
        rounds=len(rounds),
        finished=summary.exists(),
    )


def wall(trials: Sequence[TrialSpent]) -> float:
    """Seconds from the first driver that was up to the end of the last trial."""
    return max(trial.ended for trial in trials) - min(trial.began for trial in trials) if trials else 0.0


class Watch:
    """Looks at the trials' processes below a process every now and then, as long as it is open.

    Attributes
    ----------
    private : dict of int to int
        The most private memory of each, in bytes.
    cpu : dict of int to (str, float)
        What each process is, and its core-seconds when it was seen last.
    """

    def __init__(self, root: int, every: float = 1.0) -> None:
        self.private: dict[int, int] = {}
        self.cpu: dict[int, tuple[str, float]] = {}
        self._root = psutil.Process(root)
        self._every = every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def megabytes(self) -> float | None:
        """The most that a trial had; None if none was seen."""
        return max(self.private.values()) / 1e6 if self.private else None

    def used(self, since: Mapping[int, tuple[str, float]]) -> dict[str, float]:
        """Core-seconds since a copy of `cpu` was made, of trials, workers and all else."""
        found = dict.fromkeys(("trials", "workers", "others"), 0.0)
        for process, (what, seconds) in self.cpu.items():
            found[what] += seconds - since.get(process, ("", 0.0))[1]
        return found

    def _look(self) -> None:
        while not self._over.wait(self._every):
            for process in (self._root, *descendants(self._root)):
                try:
                    title = (process.cmdline() or [""])[0]
                    times = process.cpu_times()
                    self.cpu[process.pid] = (_kind(title), times.user + times.system)
                    if title.startswith(TRIAL_TITLE):
                        used = process.memory_full_info().uss
                        self.private[process.pid] = max(self.private.get(process.pid, 0), used)
                except (psutil.Error, OSError):
                    continue


def _kind(title: str) -> str:
    if title.startswith(TRIAL_TITLE):
        return "trials"
    return "workers" if title.startswith("ray::_Worker") else "others"


def descendants(root: psutil.Process) -> list[psutil.Process]:
    """All processes below one."""
    try:
        return root.children(recursive=True)
    except psutil.Error:
        return []


def cpu_seconds(root: psutil.Process) -> float:
    """Core-seconds of a process and all that live below it."""
    total = 0.0
    for process in (root, *descendants(root)):
        try:
            times = process.cpu_times()
        except psutil.Error:
            continue
        total += times.user + times.system
    return total


def spread(values: Iterable[float]) -> dict[str, float]:
    """Least, middle, ninth tenth and most."""
    ordered = sorted(values)
    if not ordered:
        return {}
    places = {"least": 0, "median": len(ordered) // 2, "p90": int(len(ordered) * 0.9), "most": len(ordered) - 1}
    return {name: ordered[min(place, len(ordered) - 1)] for name, place in places.items()}


def machine() -> dict[str, Any]:
    """Where and beside what it is measured."""
    return {
        "cores": os.cpu_count(),
        "processor": platform.processor() or platform.machine(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
        "began": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def finish(title: str, told: Mapping[str, Any], rows: Sequence[tuple[str, str, str]], out: Path | None) -> None:
    """Print a table of (what, measured, target) and write everything as JSON."""
    print(f"\n{title}")
    for what, measured, target in rows:
        print(f"{what:58}{measured:>24}  {target}")
    if out is not None:
        load = {"load_after": os.getloadavg()[0]}
        out.write_text(json.dumps({"title": title, **told, **load}, indent=1) + "\n", encoding="utf-8")
