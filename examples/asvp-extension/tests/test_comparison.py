"""The arms of the space are configurations, and differ in nothing but the strategy."""

from __future__ import annotations

from asvp_extension.comparison import density_vs_margin

from asvp.config import build_config
from asvp.tune_spaces.space import trials


def test_arms_differ_in_the_strategy_alone():
    base = build_config({"mode": "asvp", "budget": "50+25x4"})
    made = {trial.arm: trial.config for trial in trials(density_vs_margin(base), base.model_dump(), [0])}
    assert {arm: config.selection.strategy for arm, config in made.items()} == {
        "random": "random",
        "margin": "margin",
        "density": "information_density",
        "density-strong": "information_density",
    }
    assert made["density-strong"].selection.options == {"beta": 4.0}
    selection, mode = base.selection, "svp"
    others = [config.model_copy(update={"selection": selection, "mode": mode}) for config in made.values()]
    assert all(other == others[0] for other in others)
