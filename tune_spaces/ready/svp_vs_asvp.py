"""Does aligning the features pay? Random picks, SVP, ASVP by indicator and at two intervals, and standard AL."""

from __future__ import annotations

from asvp.config import Config
from asvp.tune_spaces.arms import indicator, refreshes, require_rounds
from asvp.tune_spaces.space import Space

RANDOM = {"mode": "svp", "selection": {"strategy": "random", "options": {}, "wrap": []}}


def space(config: Config) -> Space:
    """Six arms; the intervals are two rounds and four, or as many as the budget has room for.

    Raises
    ------
    ConfigError
        If the budget has fewer than three rounds, so that no two intervals would differ.
    """
    rounds = len(require_rounds(config, 3, "so that rows are chosen after the refresh"))
    short = 2 if rounds > 3 else 1
    return Space(
        arms={
            "random": RANDOM,
            "svp": {"mode": "svp"},
            "asvp": indicator(config),
            **refreshes(every=(short, min(2 * short, rounds - 1)), standard=True),
        },
        seeds=(0, 1, 2),
    )
