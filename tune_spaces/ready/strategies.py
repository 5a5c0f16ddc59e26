"""Which strategy? Every one that is registered, each with its default options, on features that stay."""

from __future__ import annotations

from asvp.config import Config
from asvp.tune_spaces.arms import cross, refreshes, require_rounds
from asvp.tune_spaces.arms import strategies as choosing
from asvp.tune_spaces.space import Space


def space(config: Config) -> Space:
    """An arm a strategy, those of installed packages too; `selection.wrap` is around each of them.

    Raises
    ------
    ConfigError
        If the budget has one round, which no strategy but `selection.cold_start` chooses.
    """
    require_rounds(config, 2, "since the first one is chosen by selection.cold_start")
    # PyTorch comes with it, and the list of spaces can do without.
    from asvp import selection

    return Space(arms=cross(_svp(), choosing(*selection.strategies())), seeds=(0, 1, 2))


def _svp() -> dict[str, dict[str, object]]:
    """Without a name of its own in the names of arms."""
    return {"": refreshes(never=True)["svp"]}
