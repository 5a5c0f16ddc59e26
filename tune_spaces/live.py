"""The table of a sweep that is kept current while it runs; lines where nothing can be kept current."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from asvp.config import Config
from asvp.progress import Reporter
from asvp.report.status import Planned, State, TrialStatus, trial_status
from asvp.report.status_files import read_status, read_trial
from asvp.report.status_table import progress_title, status_table
from asvp.report.tables import Table
from asvp.tune_spaces.space import Trial

_SAY_EVERY = 30.0
"""Seconds between two lines about the whole, where there is no table."""


class LiveTable:
    """How the trials of a sweep stand, told of what happens and read from their files.

    Parameters
    ----------
    out : Path
        The sweep directory, in which the trials are named.
    reporter : Reporter
    clock : callable
        Returns seconds that never go back.
    """

    def __init__(self, out: Path, reporter: Reporter, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._out = out
        self._reporter = reporter
        self._clock = clock
        self._began = self._said = clock()
        # A terminal draws from a thread of its own.
        self._lock = threading.Lock()
        self._trials = {trial.trial: trial for trial in read_status(out).trials}
        self._done_before = self._rounds()
        self._draw: Callable[[], None] | None = None

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the table in sight for as long as the block lasts."""
        with self._reporter.table(self.table) as draw:
            self._draw = draw
            try:
                yield
            finally:
                self._draw = None

    def table(self, most: int | None = None) -> Table:
        """The table as it is now, with at most so many rows."""
        with self._lock:
            trials = list(self._trials.values())
        return status_table(trials, title=progress_title(trials, left_seconds=self.seconds_left()), most=most)

    @property
    def trials(self) -> dict[str, TrialStatus]:
        """How every trial stands, by name."""
        with self._lock:
            return dict(self._trials)

    def came(self, trial: Trial, config: Config) -> None:
        """A trial has joined, and waits."""
        with self._lock:
            self._trials[trial.name] = trial_status(trial.planned, [], "waiting")

    def started(self, trial: str) -> None:
        """A trial has begun, or goes on."""
        self._read(trial, "running")

    def round(self, trial: str, record: Mapping[str, Any]) -> None:
        """A trial has finished a round, or a final model of an earlier one has arrived."""
        self._read(trial, "running")
        if self._draw is not None:
            return
        self._reporter.round(record, trial)
        if self._clock() - self._said >= _SAY_EVERY:
            self._said = self._clock()
            self._reporter.say(progress_title(list(self._trials.values()), left_seconds=self.seconds_left()))

    def ended(self, trial: str, failed: str | None = None, stopped: str | None = None) -> None:
        """A trial has come to its end; or failed, or was stopped early, and why."""
        state: State = "failed" if failed is not None else "finished" if stopped is None else "stopped"
        self._read(trial, state, failed or stopped or "")
        if failed is not None:
            self._reporter.say(f"{trial}: failed; the others go on", trial=trial, state=state, reason=failed)

    def seconds_left(self) -> float | None:
        """About how long the rounds that are left take, at the pace of those that were finished since the beginning."""
        with self._lock:
            done = self._rounds() - self._done_before
            left = sum(
                max(0, trial.rounds_planned - trial.rounds)
                for trial in self._trials.values()
                if trial.state not in ("failed", "damaged", "stopped")
            )
        return None if not done else (self._clock() - self._began) * left / done

    def _rounds(self) -> int:
        return sum(trial.rounds for trial in self._trials.values())

    def _read(self, name: str, state: State, reason: str = "") -> None:
        known = self._trials.get(name) or TrialStatus(name, name, 0, state)
        folder = self._out / "runs" / name
        found = read_trial(Planned(name, known.arm, known.seed, known.budget), folder if folder.is_dir() else None)
        with self._lock:
            self._trials[name] = replace(found, state=state, reason=reason)
        if self._draw is not None:
            self._draw()
