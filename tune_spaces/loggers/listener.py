"""Tells loggers how the trials of a sweep get on; none of them can stop it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from asvp.config import Config
from asvp.errors import AsvpError, RunDirectoryError, StorageError, SupersededError, first_line
from asvp.record.run_directory import RunDirectory
from asvp.tune_spaces.loggers.points import Point, points_of
from asvp.tune_spaces.loggers.trial import LoggedTrial, LoggedTrials
from asvp.tune_spaces.space import Trial


class Destination(Protocol):
    """Where the points of trials go."""

    wants_finished: bool
    """Whether it is also told of trials that were finished before."""

    def holds(self, trial: LoggedTrial, points: Sequence[Point]) -> set[tuple[str, int]]:
        """Keys of the points that it was given in an earlier process, of those that there are now."""
        ...

    def write(self, trial: LoggedTrial, points: Sequence[Point]) -> None:
        """Take points of a trial, at least one, in the order of their labels, none twice."""
        ...

    def ended(self, trial: LoggedTrial, failed: bool) -> None:
        """A trial has come to its end, or failed; perhaps it was given no points."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


class Loggers:
    """The `Listener` that reads what is new of a trial from its files, and passes the points on.

    What a destination raises is said once, and nothing more goes there; except that a full disk, lost storage and a
    successor end the sweep, wherever they are noticed first.

    Parameters
    ----------
    destinations : mapping of str to Destination
        By name.
    trials : LoggedTrials
    runs : Path
        Folder of the run directories.
    say : callable
        Told of a destination that is dropped.
    """

    def __init__(
        self,
        destinations: Mapping[str, Destination],
        trials: LoggedTrials,
        runs: Path,
        say: Callable[[str], None],
    ) -> None:
        self._destinations = dict(destinations)
        self._trials = trials
        self._runs = runs
        self._say = say
        self._news: set[str] = set()
        self._ended: dict[str, bool] = {}
        self._known: dict[tuple[str, str], set[tuple[str, int]]] = {}

    def came(self, trial: Trial, config: Config) -> None:
        """A trial has joined while the sweep runs."""
        self._trials.came(trial, config)

    def catch_up(self, finished: Iterable[str]) -> None:
        """Pass on what is missing of trials that were finished before, to those who want it."""
        for trial in finished:
            self._pass_on(trial, [name for name, one in self._destinations.items() if one.wants_finished], failed=False)

    def started(self, trial: str) -> None:
        """A trial has begun, or goes on."""
        self._news.add(trial)

    def round(self, trial: str, record: Mapping[str, Any]) -> None:
        """A trial has finished a round, or a final model of an earlier one has arrived."""
        self._news.add(trial)

    def ended(self, trial: str, failed: str | None) -> None:
        """A trial has come to its end, or failed for good, and why."""
        self._news.add(trial)
        self._ended[trial] = failed is not None

    def lost(self, trial: str, times: int) -> None:
        """It is tried again, and goes on with the points it had."""

    def step(self, states: Mapping[str, int]) -> None:
        """Pass on what is new; Ray Tune takes what is raised here for the sweep's, and elsewhere for a trial's."""
        news, self._news = self._news, set()
        for trial in sorted(news):
            self._pass_on(trial, list(self._destinations), failed=self._ended.pop(trial, None))

    def close(self) -> None:
        """Pass on what is left, and let the destinations end."""
        self.step({})
        for name in list(self._destinations):
            with self._dropping(name):
                self._destinations.pop(name).close()

    def _pass_on(self, trial: str, to: Iterable[str], *, failed: bool | None) -> None:
        """Give destinations the new points of a trial; `failed` is None while it is at work."""
        for name in to:
            with self._dropping(name):
                self._give(name, self._trials[trial], failed)

    def _give(self, name: str, trial: LoggedTrial, failed: bool | None) -> None:
        try:
            rounds = RunDirectory(self._runs / trial.name).rounds()
        except RunDirectoryError:
            # Whoever makes results of a damaged file tells of it.
            return
        destination = self._destinations[name]
        points = list(points_of(rounds, trial.due if failed is None else ()))
        known = self._known.get((name, trial.name))
        if known is None:
            known = self._known[name, trial.name] = destination.holds(trial, points)
        new = [point for point in points if point.key not in known]
        if new:
            destination.write(trial, new)
            known.update(point.key for point in new)
        if failed is not None:
            destination.ended(trial, failed)

    @contextmanager
    def _dropping(self, name: str) -> Iterator[None]:
        """Drop a destination that raises in the block."""
        try:
            yield
        except (StorageError, SupersededError):
            raise
        except Exception as error:
            self._say(f"Warning: nothing more is logged to {name}, and the sweep goes on: {_told(error)}")
            if name in self._destinations:
                with suppress(Exception):
                    self._destinations.pop(name).close()


def _told(error: Exception) -> str:
    return str(error) if isinstance(error, AsvpError) else f"{type(error).__name__}: {first_line(error)}"
