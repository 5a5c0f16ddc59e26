"""Who is told how the trials of a sweep get on: keeps what has to be kept, and passes the rest on to a person."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from asvp.actors.cluster import free_resources
from asvp.holds import Hold
from asvp.progress import SAY_AFTER_SECONDS, Reporter
from asvp.record.run_directory import RunDirectory
from asvp.remote.copies import fetch_folder
from asvp.tune_spaces.current_page import CurrentPage
from asvp.tune_spaces.current_results import CurrentResults
from asvp.tune_spaces.kept_models import ModelKeeper
from asvp.tune_spaces.live import LiveTable
from asvp.tune_spaces.stopping import EarlyStopping


class Watcher:
    """The `Listener` of a sweep.

    Parameters
    ----------
    runs : Path
        Folder of the run directories.
    hold : Hold
        Of the sweep directory.
    results : CurrentResults
    keeper : ModelKeeper
    table : LiveTable
    reporter : Reporter
    stopping : EarlyStopping
    page : CurrentPage
    failed : mapping of str to str, optional
        Trials that had failed before.

    Attributes
    ----------
    failed : dict of str to str
        Trials that failed for good, and why.
    """

    def __init__(
        self,
        runs: Path,
        hold: Hold,
        results: CurrentResults,
        keeper: ModelKeeper,
        table: LiveTable,
        reporter: Reporter,
        stopping: EarlyStopping,
        page: CurrentPage,
        failed: Mapping[str, str] | None = None,
    ) -> None:
        self.failed = dict(failed or {})
        self._keeper = keeper
        self._runs = runs
        self._hold = hold
        self._results = results
        self._table = table
        self._reporter = reporter
        self._stopping = stopping
        self._page = page
        self._idle_since = time.monotonic()

    def shown(self) -> AbstractContextManager[None]:
        """Keep a table of the trials in sight for as long as the block lasts."""
        return self._table.shown()

    def started(self, trial: str) -> None:
        """A trial has begun, or goes on."""
        self._table.started(trial)

    def round(self, trial: str, record: Mapping[str, Any]) -> None:
        """A trial has finished a round, or a final model of an earlier one has arrived."""
        fetch_folder(self._runs / trial)
        self._results.news_of(trial)
        self._table.round(trial, record)
        if self._stopping.heard(trial, record):
            self._hold.require()
            directory = RunDirectory(self._runs / trial)
            stop = self._stopping.told(trial, directory.rounds())
            directory.write_stopped(stop.to_json())
            self._reporter.say(f"{trial}: {stop.message}")

    def ended(self, trial: str, failed: str | None) -> None:
        """A trial has come to its end, or failed for good, and why."""
        fetch_folder(self._runs / trial)
        self._results.news_of(trial)
        directory = RunDirectory(self._runs / trial)
        stopped = None if failed is not None or directory.finished else directory.stopped()
        self._table.ended(trial, failed, None if stopped is None else str(stopped["message"]))
        if failed is None:
            self._keeper.finished(trial)
            return
        self.failed[trial] = failed
        if directory.failure() is None:
            with directory.held(self._hold.mandate):
                directory.write_failure("lost", failed)

    def lost(self, trial: str, times: int) -> None:
        """A trial's process or node was lost; it is tried again."""
        self._reporter.say(f"{trial}: its process or its node was lost ({times} in this round); it goes on by itself")

    def step(self, states: Mapping[str, int]) -> None:
        """Keep results and page current; while trials wait and none runs, say so now and then."""
        self._hold.require()
        self._results.write_if_due()
        self._page.write_if_due()
        now = time.monotonic()
        if states.get("RUNNING") or not states.get("PENDING"):
            self._idle_since = now
        elif now - self._idle_since >= SAY_AFTER_SECONDS:
            self._idle_since = now
            self._reporter.say(f"Trials are waiting for room on the cluster ({free_resources()})")
