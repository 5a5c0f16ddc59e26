"""Does aligning the features pay? Random picks, SVP, ASVP with one refresh, and standard active learning."""

from __future__ import annotations

from asvp.config import Config, labels_by_round
from asvp.errors import ConfigError
from asvp.tune_spaces.space import Space


def space(config: Config) -> Space:
    """Four arms; ASVP refreshes once, after the second round, unless `refresh.at` names other label counts.

    Raises
    ------
    ConfigError
        If the budget has fewer than three rounds, so that no row could be chosen on refreshed features.
    """
    counts = labels_by_round(config.budget)
    if len(counts) < 3:
        raise ConfigError(
            "needs three rounds or more, so that rows are chosen after the refresh",
            key="budget",
            value=config.budget,
            mend="Write for example 200+200x4",
        )
    return Space(
        arms={
            "random": {"mode": "svp", "selection": {"strategy": "random", "options": {}, "wrap": []}},
            "svp": {"mode": "svp"},
            "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": config.refresh.at or [counts[1]]}},
            "standard": {"mode": "standard"},
        },
        seeds=(0, 1),
    )
