"""Trials on their way into a sweep: put down, told to whoever keeps account of them, and handed to Ray Tune."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from asvp.config import Config
from asvp.driver.prepared import Prepared
from asvp.holds import Hold
from asvp.report.results import TrialRounds
from asvp.report.status import Planned
from asvp.report.status_files import write_planned
from asvp.tune_spaces.current_results import CurrentResults
from asvp.tune_spaces.kept_models import ModelKeeper
from asvp.tune_spaces.live import LiveTable
from asvp.tune_spaces.search import Search, write_search
from asvp.tune_spaces.shared_features import SharedFeatures
from asvp.tune_spaces.space import Trial
from asvp.tune_spaces.suggestions import Suggestions


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
        self._hold.require()
        suggested = self._suggestions.suggested if self._suggestions is not None else []
        write_search(self._out, self._search, suggested, self._hold.write)
        write_planned(self._out, [planned(trial) for trial in self.trials])

    def choices(
        self,
        known: Sequence[Mapping[str, Any]],
        features: SharedFeatures,
        results: CurrentResults,
        keeper: ModelKeeper,
        table: LiveTable,
    ) -> Iterator[Mapping[str, Any]]:
        """What Ray Tune gives each trial: of those that are known, then of each suggested one, as it is asked for."""
        yield from known
        suggestions = self._suggestions
        while suggestions is not None and (suggested := suggestions.more()):
            first = len(self.trials)
            self.trials += suggested
            self.write()
            for place, trial in enumerate(suggested, first):
                prepared = suggestions.checker.check(trial)
                results.came(without_rounds(trial, prepared.config))
                keeper.came(trial.name, prepared.config)
                table.came(planned(trial))
                yield choice(trial, place, prepared, features)


def choice(trial: Trial, place: int, prepared: Prepared, features: SharedFeatures) -> dict[str, Any]:
    """What Ray Tune gives a trial alone (`asvp.tune_spaces.trainable.run_trial`)."""
    return {"trial": trial.name, "arm": trial.arm, "place": place, "given": features.given(prepared)}


def planned(trial: Trial) -> Planned:
    """A trial before it begins."""
    return Planned(trial.name, trial.arm, trial.seed, tuple(trial.config.budget))


def without_rounds(trial: Trial, config: Config) -> TrialRounds:
    """A trial as results.parquet knows it before anything is read."""
    return TrialRounds(trial.name, trial.arm, trial.seed, False, config.model_dump(mode="json"), ())
