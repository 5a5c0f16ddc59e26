"""Many rounds or few? The same labels in 2, 3, 5, 9, 17 rounds, each beginning with the same first one."""

from __future__ import annotations

from itertools import takewhile

from asvp.config import Config
from asvp.tune_spaces.arms import Arms, require_rounds
from asvp.tune_spaces.space import Space

_MOST_ROUNDS = 17


def space(config: Config) -> Space:
    """The budget's first round, and the rest of its labels in 1, 2, 4, ... rounds of equal size.

    Raises
    ------
    ConfigError
        If the budget has one round, or its rounds after the first buy fewer than two labels.
    """
    require_rounds(config, 2, "so that there are labels to spread over rounds")
    return Space(arms=splits(config), seeds=(0, 1, 2))


def splits(config: Config, most: int = _MOST_ROUNDS) -> Arms:
    """The configuration's labels in 2, 3, 5, ... rounds, at most so many; arms are called 2_rounds, 3_rounds, ..."""
    first, rest = config.budget[0], sum(config.budget[1:])
    shares = takewhile(lambda share: share < most and share <= rest, (2**power for power in range(32)))
    return {f"{1 + share}_rounds": {"budget": [first, *_even(rest, share)]} for share in shares}


def _even(labels: int, rounds: int) -> list[int]:
    size, more = divmod(labels, rounds)
    return [size + (number < more) for number in range(rounds)]
