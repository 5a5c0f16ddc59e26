"""A search space: information density against margin and random picks."""

from __future__ import annotations

from typing import Any

from asvp.config import Config
from asvp.tune_spaces.space import Space

DENSITY = "information_density"


def density_vs_margin(config: Config) -> Space:
    """Does density help margin? Random picks, margin, and information density with a weaker and a stronger weight."""

    def arm(strategy: str, **options: Any) -> dict[str, Any]:
        return {"mode": "svp", "selection": {"strategy": strategy, "options": options, "wrap": config.selection.wrap}}

    return Space(
        arms={
            "random": arm("random"),
            "margin": arm("margin"),
            "density": arm(DENSITY, beta=1.0),
            "density-strong": arm(DENSITY, beta=4.0),
        },
        seeds=(0, 1),
    )
