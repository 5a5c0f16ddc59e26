"""A search begun: the trials that are known beforehand, and where others will come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from asvp.config import Config, with_curves
from asvp.tune_spaces.checks import TrialChecker, check_directory
from asvp.tune_spaces.search import Search, planned_trials, read_search, require_sampled, settled
from asvp.tune_spaces.space import Space, Trial
from asvp.tune_spaces.suggestions import Suggestions


@dataclass(frozen=True)
class BegunSearch:
    """A search, and what is known of its trials.

    Attributes
    ----------
    search : Search
    trials : list of Trial
        All of them; where they are suggested, those of the arms so far.
    suggestions : Suggestions or None
        Where more arms come from.
    """

    search: Search
    trials: list[Trial]
    suggestions: Suggestions | None = None


def begin_search(
    space: Space,
    config: Config,
    out: Path,
    *,
    seeds: Sequence[int] | None,
    search: str | None,
    samples: int | None,
    resume: bool,
    say: Callable[[str], None],
) -> BegunSearch:
    """Search a space, or go on with the search that a sweep directory remembers; nothing is written.

    Parameters
    ----------
    space : Space
    config : Config
        What all arms share.
    out : Path
        The sweep directory.
    seeds, search, samples, resume
        As of `asvp.sweep`.
    say : callable
        Told of arms that are one, of those that cannot be run, and if there are fewer than asked for.

    Raises
    ------
    AsvpError
        If the space, the directory or what is asked for is wrong.
    """
    check_directory(out, resume=resume)
    before, suggested = read_search(out) if resume else (None, [])
    wanted, base = settled(search, samples, before), with_curves(config).model_dump()
    if samples is not None and wanted.method == "grid":
        require_sampled(space)
    if wanted.method != "optuna":
        return BegunSearch(wanted, planned_trials(space, base, wanted, seeds, say))
    suggestions = Suggestions(space, base, seeds, wanted, TrialChecker(out / "runs", resume=resume), say)
    return BegunSearch(wanted, suggestions.begin(suggested), suggestions)
