"""What is best of all? Every budget with every strategy and every refresh interval: hundreds of arms, for a cluster."""

from __future__ import annotations

from asvp.config import Config
from asvp.errors import ConfigError
from asvp.tune_spaces.arms import Arms, cross, intervals, refreshes, require_rounds
from asvp.tune_spaces.arms import strategies as choosing
from asvp.tune_spaces.ready.budgets import splits
from asvp.tune_spaces.space import Space

_MOST_ROUNDS = 9


def space(config: Config) -> Space:
    """The budget's labels in 3, 5 and 9 rounds; all registered strategies; never, and every 1, 2, 4 rounds.

    Intervals that leave no round to choose in after a refresh are left out.

    Raises
    ------
    ConfigError
        If the budget has fewer than two rounds, or buys too few labels for three.
    """
    require_rounds(config, 2, "so that there are labels to spread over rounds")
    if sum(config.budget[1:]) < 2:
        raise ConfigError(
            "buys too few labels after the first round for three rounds",
            key="budget",
            value=config.budget,
            mend="Write for example 200+200x4",
        )
    # PyTorch comes with it, and the list of spaces can do without.
    from asvp import selection

    split = {name: arm for name, arm in splits(config, _MOST_ROUNDS).items() if len(arm["budget"]) > 2}
    arms: Arms = {}
    for name, arm in split.items():
        when = refreshes(never=True, every=intervals(len(arm["budget"])))
        arms |= cross({name: arm}, choosing(*selection.strategies()), when)
    return Space(arms=arms, seeds=(0, 1, 2))
