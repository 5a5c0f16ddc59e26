"""results.parquet, kept current while a sweep runs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asvp.config import Config
from asvp.errors import AsvpError
from asvp.record.run_directory import RunDirectory
from asvp.report.results import TrialRounds, write_results
from asvp.tune_spaces.space import Trial

FEWEST_SECONDS = 3.0
SHARE = 0.05
"""Writing takes no more of the time than this, however long the table gets."""


class CurrentResults:
    """The rounds of all trials, as far as they are known.

    Parameters
    ----------
    out : Path
        The sweep directory.
    trials : sequence of Trial
        In the table's order.
    configs : mapping of str to Config
        What they run with, by name.
    write : callable
        Writes a file of the sweep directory: its path, and what is given another path to write.
    """

    def __init__(
        self,
        out: Path,
        trials: Sequence[Trial],
        configs: Mapping[str, Config],
        write: Callable[[Path, Callable[[Path], Any]], None],
    ) -> None:
        self._out = out
        self._trials: dict[str, TrialRounds] = {}
        self._write = write
        self._next = time.monotonic() + FEWEST_SECONDS
        self._news: set[str] = set()

        for trial in trials:
            self.came(trial, configs[trial.name])

    @property
    def trials(self) -> dict[str, TrialRounds]:
        """All trials by name, as they were read last; one with news is another object."""
        return dict(self._trials)

    def came(self, trial: Trial, config: Config) -> None:
        """A trial has joined, without rounds."""
        options = config.model_dump(mode="json")
        self._trials[trial.name] = TrialRounds(trial.name, trial.arm, trial.seed, False, options, ())

    def news_of(self, name: str) -> None:
        """A trial has finished a round, or an object of an earlier one has changed, or it came to its end."""
        self._news.add(name)

    def write_if_due(self) -> None:
        """Write what is new, if the table was not written just now."""
        began = time.monotonic()
        if self._news and began >= self._next:
            self.write()
            self._next = began + max(FEWEST_SECONDS, (time.monotonic() - began) / SHARE)

    def write(self, *, whole: bool = False) -> dict[str, str]:
        """Write the table, with what is new or with all that lies on disk; which trials cannot be read, and why."""
        news, self._news, unread = set(self._trials) if whole else self._news, set(), {}
        for name in news:
            try:
                self._read(name)
            except AsvpError as error:
                unread[name] = str(error)
        found = [trial for trial in self._trials.values() if trial.rounds]
        if found:
            write_results(found, self._out / "results.parquet", write=self._write)
        return unread

    def _read(self, name: str) -> None:
        directory = RunDirectory(self._out / "runs" / name)
        rounds = tuple(directory.rounds())
        self._trials[name] = replace(
            self._trials[name], rounds=rounds, finished=directory.finished, stopped=directory.stopped_early
        )
