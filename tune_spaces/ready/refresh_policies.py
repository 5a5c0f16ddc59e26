"""When to refresh? Never, once at a fixed count, when LogME-PED says so, every round; beside random picks."""

from __future__ import annotations

from asvp.config import Config
from asvp.tune_spaces.arms import refreshes, require_rounds
from asvp.tune_spaces.ready.svp_vs_asvp import RANDOM
from asvp.tune_spaces.space import Space


def space(config: Config) -> Space:
    """Five arms; the fixed count is that after the second round, unless `refresh.at` names others.

    Raises
    ------
    ConfigError
        If the budget has fewer than three rounds, so that no row could be chosen on refreshed features.
    """
    counts = require_rounds(config, 3, "so that rows are chosen after the refresh")
    (fixed,) = refreshes(at=[config.refresh.at or counts[1]]).values()
    (asked,) = refreshes(logme_ped=[None]).values()
    return Space(
        arms={
            "random": RANDOM,
            "svp": {"mode": "svp"},
            "asvp_at": fixed,
            "asvp_logme_ped": asked,
            "standard": {"mode": "standard"},
        },
        seeds=(0, 1, 2),
    )
