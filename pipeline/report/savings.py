"""What an accuracy costs: labels, dollars, and the share of labels saved against random picks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from asvp.report.curves import BASELINE, Curve, by_arm, learning_curves
from asvp.report.records import Measure, RunRecord


@dataclass(frozen=True)
class Saving:
    """What an arm needs for a target accuracy.

    Attributes
    ----------
    arm : str
        Name of the arm.
    target : float
        The accuracy.
    labels : mapping of int to float
        Labels by seed, of the seeds that reach it.
    dollars : mapping of int to float
        Total cost by seed, of the same seeds.
    ratio : mapping of int to float
        Sample-saving ratio by seed, of the seeds with which the arm and the baseline both reach it.
    seeds : int
        Seeds the arm was run with.
    """

    arm: str
    target: float
    labels: Mapping[int, float]
    dollars: Mapping[int, float]
    ratio: Mapping[int, float]
    seeds: int


def labels_needed(points: Sequence[tuple[int, float]], target: float) -> float | None:
    """Labels at which a curve first reaches an accuracy, by straight lines between its points.

    Parameters
    ----------
    points : sequence of (int, float)
        Label counts, rising, and accuracies.
    target : float
        The accuracy wanted.

    Returns
    -------
    float or None
        The first label count of the curve if it begins above the target (fewer might have done); None if the target
        is not reached.
    """
    return amount_needed(points, {labelled: float(labelled) for labelled, _ in points}, target)


def amount_needed(points: Sequence[tuple[int, float]], amounts: Mapping[int, float], target: float) -> float | None:
    """As `labels_needed`, for any amount that is known at the label counts: dollars, seconds."""
    for i, (labelled, value) in enumerate(points):
        if value >= target:
            if i == 0:
                return amounts[labelled]
            before, lower = points[i - 1]
            share = (target - lower) / (value - lower)
            return amounts[before] + share * (amounts[labelled] - amounts[before])
    return None


def cost_curve(run: RunRecord) -> dict[int, float]:
    """Dollars for the labels bought, the choosing so far, and one final model at each label count.

    Final models that were trained at earlier counts, and evaluation, only measure the curve: whoever stops at a count
    pays neither. Where a round's cost is not split up, all of it counts.
    """
    spent, curve = 0.0, {}
    for one in run.rounds:
        cost = one.get("cost") or {}
        total = float(cost.get("total") or 0.0)
        training, evaluation = float(cost.get("training") or 0.0), float(cost.get("evaluation") or 0.0)
        spent += total - training - evaluation
        curve[int(one["labelled"])] = spent + training
    return curve


def cost_needed(run: RunRecord, target: float, measure: Measure = "either") -> float | None:
    """Dollars at the label count of `labels_needed`, by straight lines between rounds; None if not reached."""
    return amount_needed(run.accuracies(measure), cost_curve(run), target)


def savings(
    records: Iterable[RunRecord],
    targets: Iterable[float],
    *,
    measure: Measure = "either",
    baseline: str = BASELINE,
) -> list[Saving]:
    """What every arm needs for every target, target by target.

    The sample-saving ratio is 1 - labels(arm) / labels(baseline), seed by seed; it is empty without that arm.
    """
    arms = by_arm(records)
    found = []
    for target in targets:
        labels = {arm: _by_seed(runs, target, measure) for arm, runs in arms.items()}
        reference = labels.get(baseline, {})
        for arm, runs in arms.items():
            found.append(
                Saving(
                    arm=arm,
                    target=target,
                    labels=labels[arm],
                    dollars={run.seed: cost for run in runs if (cost := cost_needed(run, target, measure)) is not None},
                    ratio={
                        seed: 1 - needed / reference[seed] for seed, needed in labels[arm].items() if seed in reference
                    },
                    seeds=len(runs),
                )
            )
    return found


def default_targets(records: Iterable[RunRecord], measure: Measure = "either", count: int = 3) -> list[float]:
    """Accuracies that every arm passes on its way, evenly spaced, in whole hundredths where there is room.

    They lie between the highest start and the lowest best mean of the arms. Empty where an arm has no curve.
    """
    curves = learning_curves(records, measure)
    if not curves or not all(curve.points for curve in curves):
        return []
    start = max(curve.points[0].mean for curve in curves)
    end = min(_best(curve) for curve in curves)
    if end <= start:
        return [math.floor(end * 1000) / 1000]
    unit = 100 if end - start >= 0.02 * count else 1000
    steps = [math.floor((start + (end - start) * i / count) * unit + 1e-9) / unit for i in range(1, count + 1)]
    return [target for target in dict.fromkeys(steps) if target > start] or [math.floor(end * 1000) / 1000]


def _best(curve: Curve) -> float:
    return max(point.mean for point in curve.points)


def _by_seed(runs: list[RunRecord], target: float, measure: Measure) -> dict[int, float]:
    needed = {run.seed: labels_needed(run.accuracies(measure), target) for run in runs}
    return {seed: labels for seed, labels in needed.items() if labels is not None}
