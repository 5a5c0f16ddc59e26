"""Arms that are suggested while the sweep runs, each from what those before it reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from asvp.errors import AsvpError
from asvp.record.run_directory import RunDirectory
from asvp.tune_spaces.checks import TrialChecker
from asvp.tune_spaces.draws import draw, most_fruitless, told_fewer
from asvp.tune_spaces.expansion import Arm, Point
from asvp.tune_spaces.found import FoundArms
from asvp.tune_spaces.search import Search
from asvp.tune_spaces.space import Space, Trial, check_seeds, varying_arms, with_seeds
from asvp.tune_spaces.standing import is_done
from asvp.tune_spaces.tpe import Suggestion, Tpe

_TRIES = 5
"""Suggestions in a row that may bring nothing new before an arm is drawn at random instead."""


class Suggestions:
    """Arms suggested by Optuna's TPE, one after another, until there are so many different ones.

    What an arm reached is the mean over its seeds of the final accuracy at the end of the run; an arm of which a trial
    failed has failed. Run directories tell it, also those of a sweep that was interrupted.

    Parameters
    ----------
    space : Space
    base : mapping
        The configuration that all arms share.
    seeds : sequence of int or None
        Each arm's; None: the space's own.
    search : Search
        How many arms.
    checker : TrialChecker
    say : callable
        Told of what cannot be run, and if there are fewer arms.

    Attributes
    ----------
    checker : TrialChecker
    suggested : list of dict
        What was suggested so far, as it is kept for a resume.

    Raises
    ------
    ConfigError
        If Optuna is not installed, or the space is none.
    """

    def __init__(
        self,
        space: Space,
        base: Mapping[str, Any],
        seeds: Sequence[int] | None,
        search: Search,
        checker: TrialChecker,
        say: Callable[[str], None],
    ) -> None:
        self.checker = checker
        self.suggested: list[dict[str, Any]] = []
        self._arms = varying_arms(space)
        self._seeds = space.seeds if seeds is None else seeds
        check_seeds(self._seeds, "seeds")
        self._samples = search.samples or 1
        self._say = say
        self._tpe = Tpe(self._arms)
        self._found = FoundArms(base)
        self._trials: dict[str, list[Trial]] = {}
        self._waiting: dict[str, list[int]] = {}
        self._unfit: list[AsvpError] = []
        self._draws = 0

    def __str__(self) -> str:
        seeds = len(list(self._seeds))
        return (
            f"{self._samples * seeds:,} trials: {self._samples:,} arms x {seeds} {'seed' if seeds == 1 else 'seeds'}, "
            "suggested one after another by Optuna from what those before reached"
        )

    def begin(self, before: Sequence[Mapping[str, Any]]) -> list[Trial]:
        """The trials of all arms that were suggested before, and where all of those have ended, of one more.

        Parameters
        ----------
        before : sequence of mapping
            `suggested` of the sweep that goes on.

        Raises
        ------
        AsvpError
            If the space does not hold them any more, or none of its arms can be run.
        """
        for one in before:
            suggestion = self._tpe.ask(one["parameters"])
            name = one["arm"]
            if name is not None:
                name, _ = self._found.add(suggestion.arm, suggestion.point, name)
                self._trials.setdefault(name, self._with_seeds(name))
            self._enter(suggestion, name)
        trials = [trial for arm in self._trials.values() for trial in arm]
        # While others are on their way, what they reach is waited for.
        trials += [] if self._waiting else self.more()
        if not trials:
            raise self._unfit[0]
        return trials

    def more(self) -> list[Trial]:
        """The trials of one more arm; none once there are so many arms, or no others are found."""
        if len(self._trials) >= self._samples:
            return []
        self._tell()
        for _ in range(_TRIES):
            suggestion = self._tpe.ask()
            name, new = self._admit(suggestion.arm, suggestion.point)
            self._enter(suggestion, name)
            if name is not None and new:
                return self._trials[name]
        for _ in range(most_fruitless(self._samples)):
            if trials := self._drawn():
                return trials
        self._say(told_fewer(len(self._trials), self._samples))
        self._samples = len(self._trials)
        return []

    def _drawn(self) -> list[Trial]:
        """The trials of an arm drawn at random; none if it came before, or cannot be run."""
        arm, point = draw(self._arms, self._draws)
        self._draws += 1
        if self._found.seen(arm, point):
            return []
        name, new = self._admit(arm, point)
        if name is None or not new:
            return []
        self._enter(self._tpe.ask(self._tpe.parameters(arm, point)), name)
        return self._trials[name]

    def _admit(self, arm: Arm, point: Point) -> tuple[str | None, bool]:
        """An arm's name, None where it cannot be run, which is said; and whether none before came to the same."""
        try:
            name, new = self._found.add(arm, point)
        except AsvpError as error:
            self._refuse(error)
            return None, False
        if new and self._is_fit(name):
            self._trials[name] = self._with_seeds(name)
        return (name if name in self._trials else None), new

    def _is_fit(self, name: str) -> bool:
        for trial in self._with_seeds(name):
            try:
                self.checker.check(trial)
            except AsvpError as error:
                # What all arms share is at fault only as long as none of them could be run.
                if not self._trials and not trial.is_at_fault(error):
                    raise
                self._refuse(error)
                return False
        return True

    def _refuse(self, error: AsvpError) -> None:
        if str(error) not in map(str, self._unfit):
            self._unfit.append(error)
            self._say(f"Not run: {error}")

    def _with_seeds(self, name: str) -> list[Trial]:
        return list(with_seeds({name: self._found.arms[name]}, self._seeds))

    def _enter(self, suggestion: Suggestion, name: str | None) -> None:
        """Keep a suggestion, and tell what came of it as soon as that is known."""
        self.suggested.append({"parameters": suggestion.parameters, "arm": name})
        if name is None:
            self._tpe.tell(suggestion.number, None)
        else:
            self._waiting.setdefault(name, []).append(suggestion.number)
            self._tell()

    def _tell(self) -> None:
        for name in list(self._waiting):
            ended, value = reached(self._trials[name], self.checker.runs)
            if ended:
                for number in self._waiting.pop(name):
                    self._tpe.tell(number, value)


def reached(trials: Sequence[Trial], runs: Path) -> tuple[bool, float | None]:
    """Whether an arm has come to its end, and the mean final accuracy of its trials.

    None in place of the mean: one of them has failed, or was stopped early.

    Parameters
    ----------
    trials : sequence of Trial
        Of one arm.
    runs : Path
        Folder of the run directories.
    """
    accuracies = []
    for trial in trials:
        directory = RunDirectory(runs / trial.name)
        if directory.stopped_early or directory.failure() is not None:
            return True, None
        if not is_done(directory, trial.config):
            return False, None
        accuracy = (directory.read_summary() or {}).get("final_accuracy")
        if accuracy is None:
            return True, None
        accuracies.append(float(accuracy))
    return True, fmean(accuracies)
