"""What a sweep is refused for, before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asvp.driver.loop import as_begun
from asvp.driver.preparation import prepare
from asvp.driver.prepared import Prepared
from asvp.errors import ConfigError, RunDirectoryError
from asvp.folders import MARKER, entries, read_marker, require_room
from asvp.holds import is_held
from asvp.record.run_directory import RunDirectory
from asvp.remote.lease import HELD
from asvp.tune_spaces.space import Trial

_LOCK = ".asvp.lock"


def check_sweep(
    trials: Sequence[Trial], out: Path, *, resume: bool, checker: TrialChecker | None = None
) -> dict[str, Prepared]:
    """Check a sweep's directory, and every trial, before any work; nothing is written.

    Parameters
    ----------
    trials : sequence of Trial
    out : Path
        The sweep directory.
    resume : bool
    checker : TrialChecker, optional
        That has checked some of them; None: a new one.

    Raises
    ------
    AsvpError
        Whatever is wrong first.
    """
    check_directory(out, resume=resume)
    checker = checker or TrialChecker(out / "runs", resume=resume)
    return {trial.name: checker.check(trial) for trial in trials}


def check_directory(out: Path, *, resume: bool) -> None:
    """Raise a RunDirectoryError unless a sweep can begin in a directory, or go on there."""
    require_room(out)
    if RunDirectory(out).holds_run:
        raise RunDirectoryError(
            "holds a run, not a sweep",
            key="--out",
            value=str(out),
            mend="Name another folder; `asvp run --resume DIR` goes on with the run",
        )
    if resume and not _holds_sweep(out):
        raise RunDirectoryError(
            "holds no sweep to resume", key="--out", value=str(out), mend="Name the directory of a sweep"
        )
    there = entries(out) - {MARKER, _LOCK, HELD}
    if not resume and there:
        raise RunDirectoryError(
            f"is not empty ({min(there)} lies there)",
            key="--out",
            value=str(out),
            mend="Add --resume to go on with the sweep, or name another",
        )
    if is_held(out):
        raise RunDirectoryError(
            "another process is at work here", key="--out", value=str(out), mend="Wait for it, or stop it"
        )


class TrialChecker:
    """Checks one trial after another; data is opened once.

    Parameters
    ----------
    runs : Path
        Folder of the run directories.
    resume : bool
        Whether trials that were begun there go on.
    """

    def __init__(self, runs: Path, *, resume: bool) -> None:
        self.runs = runs
        self._resume = resume
        self._first: Trial | None = None
        self._arms: dict[str, Prepared] = {}
        self._datasets: dict[str, Any] = {}

    def check(self, trial: Trial) -> Prepared:
        """What a trial runs with.

        Raises
        ------
        AsvpError
            If it cannot be run, or not beside the first one that was checked.
        """
        first = self._first or trial
        if trial.config.workers != first.config.workers:
            raise ConfigError(
                f"one pool of workers serves all trials, and arm {trial.arm} asks for another than {first.arm}",
                key="workers",
                value=trial.config.workers.model_dump(),
                mend="Set it for all arms, for example with -s workers.count=2",
            )
        one = self._prepared(trial).with_seed(trial.config.seed)
        directory = RunDirectory(self.runs / trial.name)
        if self._resume and directory.holds_run:
            one = replace(one, config=as_begun(one.config, directory))
        self._first = first
        return one

    def _prepared(self, trial: Trial) -> Prepared:
        # No check looks at the seed.
        arm, data = trial.config.model_dump_json(exclude={"seed"}), trial.config.data.model_dump_json()
        if arm not in self._arms:
            with trial.named():
                self._arms[arm] = prepare(trial.config, self._datasets.get(data))
        self._datasets[data] = self._arms[arm].dataset
        return self._arms[arm]


def _holds_sweep(out: Path) -> bool:
    """Whether a folder can be shown to be a sweep's: by its marker, or by runs that asvp began (earlier versions)."""
    marker = read_marker(out)
    if marker is not None:
        return marker.get("kind") == "sweep"
    runs = [path for path in out.glob("runs/*") if path.is_dir()]
    return bool(runs) and all(RunDirectory(run).is_ours for run in runs)
