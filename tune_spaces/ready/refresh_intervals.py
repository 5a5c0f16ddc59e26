"""How often to refresh? Never, and every 1, 2, 4, ... rounds."""

from __future__ import annotations

from asvp.config import Config
from asvp.tune_spaces.arms import intervals, refreshes, require_rounds
from asvp.tune_spaces.space import Space


def space(config: Config) -> Space:
    """SVP, and an arm an interval that leaves a round to choose in after its first refresh.

    Raises
    ------
    ConfigError
        If the budget has fewer than three rounds, so that no two intervals would differ.
    """
    rounds = len(require_rounds(config, 3, "so that intervals differ"))
    return Space(arms=refreshes(never=True, every=intervals(rounds)), seeds=(0, 1, 2))
