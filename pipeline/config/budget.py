"""The label budget: how many labels each round buys, and at which counts final models are trained."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import accumulate
from typing import Any

_MOST_ROUNDS, _LONGEST = 100_000, 1_000_000
_TERM = re.compile(r"^(\d+)(?:[xX*](\d+))?$")

_SEVERAL = (Fraction(1, 3), Fraction(2, 3), Fraction(5, 6), Fraction(1))
"""Shares of the budget. Better arms pass what random picks end with in the last third, so that is looked at twice."""


def parse_budget(budget: Any) -> list[int]:
    """Labels bought in each round, from a short form or a list.

    Parameters
    ----------
    budget : str, int or list of int
        `300+200x6` is 300 labels, then six rounds of 200.

    Returns
    -------
    list of int
        One positive number a round.

    Raises
    ------
    ValueError
        If the form is not understood or a round buys nothing.
    """
    if isinstance(budget, bool):
        raise ValueError("a budget is a number, a list, or a form such as 300+200x6")
    if isinstance(budget, int):
        rounds = [budget]
    elif isinstance(budget, list):
        if not all(isinstance(labels, int) and not isinstance(labels, bool) for labels in budget):
            raise ValueError("a budget list holds whole numbers only, such as [300, 200, 200]")
        rounds = list(budget)
    elif isinstance(budget, str):
        rounds = []
        if len(budget) > _LONGEST:
            raise ValueError(f"has more than {_LONGEST:,} characters")
        for term in budget.replace(" ", "").split("+"):
            match = _TERM.match(term)
            if match is None:
                raise ValueError(f"'{term}' is not understood: write 300+200x6 for 300 labels and six rounds of 200")
            times = int(match[2] or 1)
            if times == 0:
                raise ValueError(f"'{term}' has no rounds: leave it out")
            if len(rounds) + times > _MOST_ROUNDS:
                raise ValueError(f"more than {_MOST_ROUNDS:,} rounds are too many")
            rounds += [int(match[1])] * times
    else:
        raise ValueError("a budget is a number, a list, or a form such as 300+200x6")
    if not rounds or min(rounds) < 1:
        raise ValueError("every round buys at least one label")
    return rounds


def format_budget(rounds: list[int]) -> str:
    """The shortest form `parse_budget` reads back: [300, 200, 200] is 300+200x2."""
    terms: list[tuple[int, int]] = []
    for labels in rounds:
        if terms and terms[-1][0] == labels:
            terms[-1] = (labels, terms[-1][1] + 1)
        else:
            terms.append((labels, 1))
    return "+".join(f"{labels}x{times}" if times > 1 else str(labels) for labels, times in terms)


def labels_by_round(budget: Iterable[int]) -> list[int]:
    """Labels bought by the end of each round."""
    return list(accumulate(budget))


def evaluated_counts(budget: Iterable[int], evaluate_at: str | Sequence[int]) -> frozenset[int]:
    """Label counts at which a final model is trained, that of the last round always among them.

    Parameters
    ----------
    budget : iterable of int
        Labels bought in each round.
    evaluate_at : str or sequence of int
        The option `training.evaluate_at`. "several" takes the first round's end at or after a third, two thirds, five
        sixths and all of the budget.
    """
    counts = labels_by_round(budget)
    if evaluate_at == "every":
        return frozenset(counts)
    if evaluate_at == "several":
        return frozenset(next(n for n in counts if n >= share * counts[-1]) for share in _SEVERAL)
    return frozenset([counts[-1], *([] if isinstance(evaluate_at, str) else evaluate_at)])
