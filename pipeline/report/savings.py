"""What an accuracy of final models costs: labels, dollars, and the share of labels saved against random picks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from asvp.report.baseline import baseline_of
from asvp.report.curves import Curve, by_arm, learning_curves
from asvp.report.intervals import Interval, interval
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn


@dataclass(frozen=True)
class Saving:
    """What an arm needs for a target accuracy.

    Attributes
    ----------
    arm : str
        Name of the arm.
    target : float
        The accuracy, of final models.
    labels : mapping of int to float
        Labels by seed, of the seeds that reach it.
    dollars : mapping of int to float
        Total cost by seed, of the same seeds.
    ratio : mapping of int to float
        Sample-saving ratio by seed, of the seeds with which the arm reaches it and the baseline passes it.
    seeds : int
        Seeds the arm has a curve of: final models at two label counts or more.
    at_most : frozenset of int
        Seeds whose curve begins above the target: fewer labels might have done, so what they need is at most that,
        and what they save at least that.
    saved : Interval or None
        Of the ratio; None where no seed tells it exactly.
    """

    arm: str
    target: float
    labels: Mapping[int, float]
    dollars: Mapping[int, float]
    ratio: Mapping[int, float]
    seeds: int
    at_most: frozenset[int] = field(default_factory=frozenset)
    saved: Interval | None = None


def amount_needed(amounts: Sequence[float], accuracies: ArrayLike, target: float) -> NDArray[np.float64]:
    """What curves have used up where they first reach an accuracy, by straight lines between their points.

    Parameters
    ----------
    amounts : sequence of P floats
        Labels, dollars or seconds at the points of a curve, in their order.
    accuracies : array-like of shape (..., P)
        One curve, or many that share the amounts.
    target : float
        The accuracy wanted.

    Returns
    -------
    ndarray of shape (...), float64
        The first amount for a curve that begins above the target (less might have done); NaN for one that never
        reaches it.
    """
    amount, value = np.asarray(amounts, dtype=np.float64), np.asarray(accuracies, dtype=np.float64)
    reached = value >= target
    after = reached.argmax(axis=-1)
    before = np.maximum(after - 1, 0)
    upper, lower = (np.take_along_axis(value, at[..., None], -1)[..., 0] for at in (after, before))
    step = np.where(after > 0, upper - lower, 1.0)
    share = np.where(after > 0, (target - lower) / np.where(step == 0, 1.0, step), 0.0)
    found = amount[before] + share * (amount[after] - amount[before])
    return np.where(reached.any(axis=-1), found, np.nan)


def labels_needed(points: Sequence[tuple[int, float]], target: float) -> float | None:
    """Labels at which a curve of (labels, accuracy) first reaches a target; None if never, else as `amount_needed`."""
    return _scalar([float(labelled) for labelled, _ in points], [value for _, value in points], target)


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


def cost_needed(run: RunRecord, target: float) -> float | None:
    """Dollars at the label count of `labels_needed`, by straight lines between final models; None if not reached."""
    points, costs = run.accuracies("final"), cost_curve(run)
    return _scalar([costs[labelled] for labelled, _ in points], [value for _, value in points], target)


def savings(
    records: Iterable[RunRecord],
    targets: Iterable[float],
    *,
    baseline: str | None = None,
    redrawn: Redrawn | None = None,
) -> list[Saving]:
    """What every arm needs for every target, target by target, by the curves of its final models.

    The sample-saving ratio is 1 - labels(arm) / labels(baseline), seed by seed; it is empty without that arm. A run
    with one final model has no curve, and is left out.

    Parameters
    ----------
    records : iterable of RunRecord
    targets : iterable of float
    baseline : str, optional
        The arm that others are held against; None: that with random picks (`asvp.report.baseline`).
    redrawn : Redrawn, optional
        The same runs on other draws of test rows, for the intervals.
    """
    runs = list(records)
    against = baseline_of(runs) if baseline is None else baseline
    arms = {arm: {run.seed: run for run in its if has_curve(run)} for arm, its in by_arm(runs).items()}
    return [_saving(arms, arm, target, against, redrawn) for target in targets for arm in arms]


def has_curve(run: RunRecord) -> bool:
    """Whether final models were trained at two label counts or more: one point is no curve."""
    return len(run.accuracies("final")) > 1


def _saving(
    arms: Mapping[str, Mapping[int, RunRecord]], arm: str, target: float, baseline: str | None, redrawn: Redrawn | None
) -> Saving:
    runs, against = arms[arm], {} if baseline is None else arms.get(baseline, {})
    labels = _by_seed(runs, target)
    at_most = frozenset(seed for seed in labels if _begins_above(runs[seed], target))
    reference = {seed: n for seed, n in _by_seed(against, target).items() if not _begins_above(against[seed], target)}
    ratio = {seed: 1 - needed / reference[seed] for seed, needed in labels.items() if seed in reference}
    saved = None
    if ratio and arm != baseline and not at_most & set(ratio):
        draws = redrawn and [_ratio_draws(redrawn, runs[seed], against[seed], target) for seed in ratio]
        saved = interval(list(ratio.values()), np.stack(draws, axis=1) if draws else None)
    costs = {seed: cost_needed(runs[seed], target) for seed in labels}
    dollars = {seed: cost for seed, cost in costs.items() if cost is not None}
    return Saving(arm, target, labels, dollars, ratio, len(runs), at_most, saved)


def _ratio_draws(redrawn: Redrawn, run: RunRecord, reference: RunRecord, target: float) -> NDArray[np.float64]:
    needed, compared = (
        amount_needed([float(labelled) for labelled, _ in one.accuracies("final")], redrawn.curves(one), target)
        for one in (run, reference)
    )
    return 1 - needed / compared


def default_targets(records: Iterable[RunRecord], count: int = 3) -> list[float]:
    """Accuracies that every arm with a curve passes on its way, evenly spaced, in whole hundredths where there is room.

    They lie between the highest start and the lowest best mean of the arms. Empty where no arm has a curve.
    """
    curves = [curve for curve in learning_curves(records) if len(curve.points) > 1]
    if not curves:
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


def _by_seed(runs: Mapping[int, RunRecord], target: float) -> dict[int, float]:
    needed = {seed: labels_needed(run.accuracies("final"), target) for seed, run in runs.items()}
    return {seed: labels for seed, labels in needed.items() if labels is not None}


def _begins_above(run: RunRecord, target: float) -> bool:
    return run.accuracies("final")[0][1] > target


def _scalar(amounts: Sequence[float], accuracies: Sequence[float], target: float) -> float | None:
    if not accuracies:
        return None
    found = float(amount_needed(amounts, accuracies, target))
    return None if math.isnan(found) else found
