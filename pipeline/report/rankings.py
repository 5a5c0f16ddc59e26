"""Which arm is best for the same money: final models compared at equal total cost, labels and compute together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvp.report.curves import by_arm
from asvp.report.intervals import Interval, interval
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn
from asvp.report.savings import cost_curve


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
        """Whether the difference is more than chance."""
        return self.difference is not None and self.difference.tells


@dataclass(frozen=True)
class Ranking:
    """The arms at one total cost.

    Attributes
    ----------
    cost : float
        Dollars for labels, choosing and one final model.
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
    return [_ranking(arms, cost, labelled, redrawn) for cost, labelled in _costs(arms)]


def _costs(arms: Mapping[str, Sequence[RunRecord]]) -> list[tuple[float, int | None]]:
    """Costs to compare at, rising, and the label counts they are of."""
    evaluated = [{labelled for labelled, _ in run.accuracies("final")} for runs in arms.values() for run in runs]
    common = sorted(set.intersection(*evaluated))
    if not common:
        ends = [fmean(cost_curve(run)[run.accuracies("final")[-1][0]] for run in runs) for runs in arms.values()]
        return [(max(ends), None)]
    paid = {n: [fmean(cost_curve(run)[n] for run in runs) for runs in arms.values()] for n in common}
    first = max(paid[common[0]])
    later = [(min(paid[n]), n) for n in common[1:]]
    return [(first, common[0]), *((cost, n) for cost, n in later if cost > first)]


def _ranking(
    arms: Mapping[str, Sequence[RunRecord]], cost: float, labelled: int | None, redrawn: Redrawn | None
) -> Ranking:
    found = {arm: {run.seed: _at(run, cost) for run in runs} for arm, runs in arms.items()}
    ranked = sorted(found, key=lambda arm: -fmean(found[arm].values()))
    best = ranked[0]
    draws = {
        arm: {run.seed: _drawn_at(redrawn, run, cost) for run in runs} if redrawn else None
        for arm, runs in arms.items()
    }
    behind = []
    for arm in ranked[1:]:
        shared = [seed for seed in found[best] if seed in found[arm]]
        values = [found[best][seed] - found[arm][seed] for seed in shared]
        ours, theirs = draws[best], draws[arm]
        drawn = [ours[seed] - theirs[seed] for seed in shared] if ours and theirs else []
        difference = interval(values, np.stack(drawn, axis=1) if drawn else None) if values else None
        behind.append(Behind(arm, fmean(found[arm].values()), difference))
    alone = draws[best]
    spread = np.stack(list(alone.values()), axis=1) if alone else None
    return Ranking(cost, labelled, best, interval(list(found[best].values()), spread), tuple(behind))


def _at(run: RunRecord, cost: float) -> float:
    return float(_interpolated(run, [value for _, value in run.accuracies("final")], cost))


def _drawn_at(redrawn: Redrawn, run: RunRecord, cost: float) -> NDArray[np.float64]:
    return _interpolated(run, redrawn.curves(run), cost)


def _interpolated(run: RunRecord, accuracies: ArrayLike, cost: float) -> NDArray[np.float64]:
    """Accuracies, shape (..., P), between a run's final models at a cost."""
    curve = cost_curve(run)
    costs = [curve[labelled] for labelled, _ in run.accuracies("final")]
    weights = np.array([np.interp(cost, costs, one) for one in np.eye(len(costs))])
    found: NDArray[np.float64] = np.asarray(accuracies, dtype=np.float64) @ weights
    return found
