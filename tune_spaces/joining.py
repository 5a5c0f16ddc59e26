"""Trials on their way into a sweep: put down, told to whoever keeps account of them, and handed to Ray Tune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from asvp.config import Config
from asvp.driver.prepared import Prepared
from asvp.holds import Hold
from asvp.report.status_files import write_planned
from asvp.tune_spaces.search import Search, write_search
from asvp.tune_spaces.shared_features import SharedFeatures
from asvp.tune_spaces.space import Trial
from asvp.tune_spaces.suggestions import Suggestions


class Account(Protocol):
    """Who keeps account of the trials of a sweep."""

    def came(self, trial: Trial, config: Config) -> None:
        """A trial has joined, and runs with this."""
        ...


class Joining:
    """The trials of a sweep, of which some may join while it runs.

    Parameters
    ----------
    out : Path
        The sweep directory.
    hold : Hold
        Of it.
    trials : sequence of Trial
        Those that are known from the beginning.
    search : Search
    suggestions : Suggestions or None
        Where others come from.

    Attributes
    ----------
    trials : list of Trial
        All of them, in the order in which they came.
    """

    def __init__(
        self,
        out: Path,
        hold: Hold,
        trials: Sequence[Trial],
        search: Search,
        suggestions: Suggestions | None,
    ) -> None:
        self.trials = list(trials)
        self._out = out
        self._hold = hold
        self._search = search
        self._suggestions = suggestions

    def write(self) -> None:
        """Put down the trials, for whoever asks how the sweep stands, and the search, for a resume."""
        suggested = self._suggestions.suggested if self._suggestions is not None else []
        write_search(self._out, self._search, suggested, self._hold.write)
        write_planned(self._out, [trial.planned for trial in self.trials], write=self._hold.write)

    def choices(
        self,
        known: Sequence[Mapping[str, Any]],
        features: SharedFeatures,
        accounts: Sequence[Account],
    ) -> Iterator[Mapping[str, Any]]:
        """What Ray Tune gives each trial: of those that are known, then of each suggested one, as it is asked for.

        Of those that join the accounts are told first.
        """
        yield from known
        suggestions = self._suggestions
        while suggestions is not None and (suggested := suggestions.more()):
            first = len(self.trials)
            self.trials += suggested
            self.write()
            for place, trial in enumerate(suggested, first):
                prepared = suggestions.checker.check(trial)
                for account in accounts:
                    account.came(trial, prepared.config)
                yield choice(trial, place, prepared, features)


def choice(trial: Trial, place: int, prepared: Prepared, features: SharedFeatures) -> dict[str, Any]:
    """What Ray Tune gives a trial alone (`asvp.tune_spaces.trainable.run_trial`)."""
    return {"trial": trial.name, "arm": trial.arm, "place": place, "given": features.given(prepared)}
