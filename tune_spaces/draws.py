"""Arms drawn at random out of all that a space could make."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from asvp.seeds import derive_seed
from asvp.tune_spaces.expansion import Arm, Point, drawn
from asvp.tune_spaces.found import FoundArms
from asvp.tune_spaces.space import ChosenArm, Space, varying_arms


def draw(arms: Sequence[Arm], number: int) -> tuple[Arm, Point]:
    """A sample: one of the arms, each as likely, with a value for each of its axes.

    It depends on its number, on the names of arms' keys and on nothing else that was drawn.
    """
    generator = np.random.default_rng(derive_seed(0, "the arm of a sample", number))
    arm = arms[int(generator.integers(len(arms)))]
    return arm, {path: drawn(path, axis, number) for path, axis in arm.axes.items()}


def drawn_arms(space: Space, base: Mapping[str, Any], samples: int, say: Callable[[str], None]) -> dict[str, ChosenArm]:
    """So many different arms, by name; more of them hold the same ones first.

    Parameters
    ----------
    space : Space
    base : mapping
        The configuration that all arms share.
    samples : int
        How many, from 1.
    say : callable
        Told if there are fewer.

    Raises
    ------
    ConfigError, SelectionError
        If an arm makes a configuration that cannot be; the message names it.
    """
    arms, found = varying_arms(space), FoundArms(base)
    number = fruitless = 0
    while len(found.arms) < samples and fruitless < most_fruitless(samples):
        _, new = found.add(*draw(arms, number))
        number += 1
        fruitless = 0 if new else fruitless + 1
    if len(found.arms) < samples:
        say(told_fewer(len(found.arms), samples))
    return found.arms


def most_fruitless(samples: int) -> int:
    """How many draws in a row may bring nothing new before no more are made."""
    return max(1000, 10 * samples)


def told_fewer(found: int, samples: int) -> str:
    """What is said where a space has fewer arms than were asked for."""
    return f"{found:,} different arms were found, not {samples:,}: further draws came to the same as those"
