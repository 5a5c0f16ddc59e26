"""The three modes as presets over one loop: when features are refreshed, and which model scores the pool."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from asvp.alignment.policy import RefreshPolicy, make_policy
from asvp.config import Config, RefreshConfig


@dataclass(frozen=True)
class ModePlan:
    """What a mode means to the loop.

    Attributes
    ----------
    policy : RefreshPolicy
    scoring : {"proxy", "head"}
        A proxy fitted on the features, or the head that was fine-tuned with the encoder.
    refresh : RefreshConfig
        What the mode made of the configuration.
    """

    policy: RefreshPolicy
    scoring: Literal["proxy", "head"]
    refresh: RefreshConfig

    @property
    def keeps_first(self) -> bool:
        """Whether a refresh keeps the pre-trained features beside the new ones, so that two versions are held."""
        return self.refresh.policy != "never" and self.refresh.features == "both"


def plan_mode(config: Config) -> ModePlan:
    """svp never refreshes; asvp follows refresh.policy; standard refreshes every round and scores with the head."""
    if config.mode == "svp":
        refresh, scoring = RefreshConfig(policy="never"), "proxy"
    elif config.mode == "standard":
        refresh, scoring = RefreshConfig(policy="every", every=1, features="aligned", holdout=0), "head"
    else:
        refresh, scoring = config.refresh, "proxy"
    return ModePlan(make_policy(refresh), "head" if scoring == "head" else "proxy", refresh)
