"""Which arm is best for the same money: final models compared at equal total cost, labels and compute together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from asvp.report.curves import by_arm
from asvp.report.intervals import Interval, interval
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn
from asvp.report.savings import cost_curve
from asvp.report.tables import count, dollars

_SMALLEST = 0.001
"""Of accuracy."""


@dataclass(frozen=True)
class Behind:
    """An arm held against the best one, seed by seed.

    Attributes
    ----------
    arm : str
    accuracy : float
        Mean over its seeds at that cost.
    difference : Interval or None
        The best arm's accuracy minus this one's, over the seeds that both have; None where they have none in common.
    """

    arm: str
    accuracy: float
    difference: Interval | None

    @property
    def told_apart(self) -> bool:
        """Whether the difference is more than chance, and a thousandth or more: less is none that matters."""
        return self.difference is not None and self.difference.tells and abs(self.difference.mean) >= _SMALLEST


@dataclass(frozen=True)
class Ranking:
    """The arms at one total cost.

    Attributes
    ----------
    cost : float
        Dollars for labels, choosing and one final model; 0 where nothing has a price, and arms are compared at the same
        number of labels.
    labelled : int or None
        The label count that the cost was taken from; None where the arms have none in common.
    best : str
        Arm with the highest mean accuracy.
    accuracy : Interval
        Of the best arm.
    behind : tuple of Behind
        The other arms, the next best first.
    """

    cost: float
    labelled: int | None
    best: str
    accuracy: Interval
    behind: tuple[Behind, ...]

    @property
    def amount(self) -> str:
        """The cost in words; labels where nothing has a price."""
        return dollars(self.cost) if self.cost or self.labelled is None else f"{count(self.labelled)} labels"

    @property
    def equals(self) -> tuple[str, ...]:
        """Arms that are not told apart from the best."""
        return tuple(other.arm for other in self.behind if not other.told_apart)


def rankings(records: Sequence[RunRecord], redrawn: Redrawn | None = None) -> list[Ranking]:
    """The arms at each total cost that can be compared, the smallest first.

    Every label count at which all runs have final models gives a cost: what the cheapest arm pays there, on average;
    at the first of them, what the dearest pays, so that all arms have a final model by then. An arm's accuracy at a
    cost lies on straight lines between its final models, and stays what it was after the last.

    Parameters
    ----------
    records : sequence of RunRecord
        Runs that are to be compared; those without final models are left out.
    redrawn : Redrawn, optional
        The same runs on other draws of test rows, for the intervals.
    """
    arms = by_arm(run for run in records if run.accuracies("final"))
    if not arms:
        return []
    free = not any(cost for runs in arms.values() for run in runs for cost in cost_curve(run).values())
    spent = _labels if free else _cents
    found = [_ranking(arms, amount, labelled, spent, redrawn) for amount, labelled in _amounts(arms, spent)]
    return [replace(one, cost=0.0) for one in found] if free else found


_Spent = Callable[[RunRecord], Mapping[int, float]]
"""What a run has paid by each label count."""


def _cents(run: RunRecord) -> dict[int, float]:
    """Dollars in whole cents, so that arms which did the same so far are compared at the same point."""
    return {labelled: round(cost, 2) for labelled, cost in cost_curve(run).items()}


def _labels(run: RunRecord) -> dict[int, float]:
    """What is compared where nothing has a price."""
    return {int(one["labelled"]): float(one["labelled"]) for one in run.rounds}


def _amounts(arms: Mapping[str, Sequence[RunRecord]], spent: _Spent) -> list[tuple[float, int | None]]:
    """Amounts to compare at, rising, and the label counts they are of."""
    evaluated = [{labelled for labelled, _ in run.accuracies("final")} for runs in arms.values() for run in runs]
    common = sorted(set.intersection(*evaluated))
    if not common:
        return [
            (max(fmean(spent(run)[run.accuracies("final")[-1][0]] for run in runs) for runs in arms.values()), None)
        ]
    paid = {n: [fmean(spent(run)[n] for run in runs) for runs in arms.values()] for n in common}
    first = max(paid[common[0]])
    later = [(min(paid[n]), n) for n in common[1:]]
    return [(first, common[0]), *((amount, n) for amount, n in later if amount > first)]


def _ranking(
    arms: Mapping[str, Sequence[RunRecord]],
    amount: float,
    labelled: int | None,
    spent: _Spent,
    redrawn: Redrawn | None,
) -> Ranking:
    found: dict[str, dict[int, float]] = {arm: {} for arm in arms}
    draws: dict[str, dict[int, NDArray[np.float64]]] = {arm: {} for arm in arms}
    for arm, runs in arms.items():
        for run in runs:
            weights = _weights(run, amount, spent)
            found[arm][run.seed] = float(np.array([value for _, value in run.accuracies("final")]) @ weights)
            if redrawn is not None:
                draws[arm][run.seed] = redrawn.curves(run) @ weights
    best, *others = sorted(found, key=lambda arm: -fmean(found[arm].values()))
    behind = []
    for arm in others:
        shared = [seed for seed in found[best] if seed in found[arm]]
        values = [found[best][seed] - found[arm][seed] for seed in shared]
        drawn = [draws[best][seed] - draws[arm][seed] for seed in shared] if redrawn else []
        behind.append(Behind(arm, fmean(found[arm].values()), _interval(values, drawn) if shared else None))
    accuracy = _interval(list(found[best].values()), list(draws[best].values()))
    return Ranking(amount, labelled, best, accuracy, tuple(behind))


def _interval(values: Sequence[float], draws: Sequence[NDArray[np.float64]]) -> Interval:
    return interval(values, np.stack(draws, axis=1) if draws else None)


def _weights(run: RunRecord, amount: float, spent: _Spent) -> NDArray[np.float64]:
    """How the accuracy at an amount is made of those of a run's P final models, shape (P,)."""
    paid = spent(run)
    amounts = [paid[labelled] for labelled, _ in run.accuracies("final")]
    return np.array([np.interp(amount, amounts, one) for one in np.eye(len(amounts))])
