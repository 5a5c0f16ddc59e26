"""How sure should the indicator be? Thresholds from a half to twice the measured one; beside SVP."""

from __future__ import annotations

from asvp.config import Config
from asvp.config.thresholds import LOGME_FALL, LOGME_PED_GAP
from asvp.errors import ConfigError
from asvp.tune_spaces.arms import refreshes, require_rounds
from asvp.tune_spaces.behaviour import refreshes as possible
from asvp.tune_spaces.space import Space

_TIMES = (0.5, 0.75, 1.0, 1.5, 2.0)


def space(config: Config) -> Space:
    """SVP, and five thresholds of `refresh.policy` if that is logme, else of logme_ped.

    Raises
    ------
    ConfigError
        If no round would ask the indicator: the budget has one round, or the limits of `refresh` leave none.
    """
    require_rounds(config, 2, "so that rows are chosen after the refresh")
    measured = LOGME_FALL if config.refresh.policy == "logme" else LOGME_PED_GAP
    policy = "logme" if config.refresh.policy == "logme" else "logme_ped"
    thresholds = [float(f"{times * measured:.3g}") for times in _TIMES]
    asked = config.refresh.model_copy(update={"policy": policy, "threshold": None, "every": None, "at": None})
    if not possible(config.model_copy(update={"mode": "asvp", "refresh": asked})).rounds:
        raise ConfigError(
            "leaves no round in which the indicator is asked",
            key="budget",
            value=config.budget,
            mend="Begin with fewer labels, or lower refresh.min_left (and refresh.min_labels)",
        )
    told = {policy: thresholds}
    arms = refreshes(never=True, logme=told.get("logme", ()), logme_ped=told.get("logme_ped", ()))
    return Space(arms=arms, seeds=(0, 1, 2))
