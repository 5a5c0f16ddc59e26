"""When to refresh? The arms of svp_vs_asvp, with a second ASVP that lets the indicator decide."""

from __future__ import annotations

from asvp.config import Config
from asvp.tune_spaces import svp_vs_asvp
from asvp.tune_spaces.space import Space


def space(config: Config) -> Space:
    """Random picks, SVP, ASVP with one refresh at a fixed count and by LogME-PED, and standard active learning.

    Raises
    ------
    ConfigError
        If the budget has fewer than three rounds, so that no row could be chosen on refreshed features.
    """
    arms = dict(svp_vs_asvp.space(config).arms)
    fixed, standard = arms.pop("asvp"), arms.pop("standard")
    arms["asvp_at"] = fixed
    # What another policy was told must not reach this one.
    arms["asvp_logme_ped"] = {"mode": "asvp", "refresh": {"policy": "logme_ped", "at": None, "every": None}}
    arms["standard"] = standard
    return Space(arms=arms, seeds=(0, 1, 2))
