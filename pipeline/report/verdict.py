"""The answer in a sentence or two: which arm is best, and which does as well for the least."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import fmean

from asvp.report.curves import Curve, by_arm, learning_curves
from asvp.report.records import Measure, RunRecord
from asvp.report.savings import amount_needed, cost_curve, labels_needed
from asvp.report.tables import count, dollars, duration


@dataclass(frozen=True)
class Verdict:
    """Which arm did best, and which is the cheapest that does as well.

    Attributes
    ----------
    best : str or None
        Arm with the highest mean accuracy at its last label count; None where nothing was measured.
    cheapest : str or None
        Arm that reaches the target at the least total cost, and among equals in the least sampling time.
    target : float or None
        The accuracy of the best arm's worst seed.
    rivals : tuple of str
        Arms whose range over seeds overlaps that of the best.
    text : str
        The answer in words.
    """

    best: str | None
    cheapest: str | None
    target: float | None
    rivals: tuple[str, ...]
    text: str


@dataclass(frozen=True)
class _Price:
    """What an arm pays for the target, by the means over its seeds."""

    arm: str
    labels: float
    cost: float
    sampling_seconds: float

    @property
    def order(self) -> tuple[float, float, float]:
        # A cent and a tenth of a second are below what anyone would choose by.
        return round(self.cost, 2), round(self.sampling_seconds, 1), self.labels


def verdict(records: Sequence[RunRecord]) -> Verdict:
    """Answer "which arm reaches the best arm's accuracy at the least total cost?".

    Arms are ranked by their mean accuracy at the last label count. An arm does as well as the best when its own mean
    reaches what the best arm's worst seed reached. Runs that are not finished are left out, unless none is.
    """
    runs = [run for run in records if run.finished] or list(records)
    measure: Measure = "final" if all(run.accuracies("final") for run in runs) else "either"
    curves = {curve.arm: curve for curve in learning_curves(runs, measure) if curve.points}
    if not curves:
        return Verdict(None, None, None, (), "No accuracy was measured, so there is nothing to compare.")
    best = max(curves.values(), key=lambda curve: curve.points[-1].mean)
    target = best.points[-1].low
    rivals = tuple(curve.arm for curve in curves.values() if curve is not best and _overlap(curve, best))
    arms = by_arm(runs)
    able = [price for arm, curve in curves.items() if (price := _price(curve, arms[arm], target)) is not None]
    cheapest = min(able, key=lambda price: price.order)
    said = [_best_sentence(best, measure)]
    if len(curves) > 1:
        said.append(_cheapest_sentence(cheapest, able, target))
        said += _doubts(best, rivals, curves)
    if len(runs) < len(records):
        left_out = len(records) - len(runs)
        said.append(f"{left_out} unfinished run{' is' if left_out == 1 else 's are'} not counted.")
    return Verdict(best.arm, cheapest.arm, target, rivals, " ".join(said))


def _best_sentence(best: Curve, measure: Measure) -> str:
    last = best.points[-1]
    seeds = len(last.values)
    spread = f" ({last.low:.3f} to {last.high:.3f} over {seeds} seeds)" if seeds > 1 else " (one seed)"
    model = "" if measure == "final" else " (of the proxy where there is no final model)"
    accuracy = f"{last.mean:.3f}{spread} with {count(last.labelled)} labels"
    return f"{best.arm} ends with the highest accuracy{model}: {accuracy}."


def _cheapest_sentence(cheapest: _Price, able: Sequence[_Price], target: float) -> str:
    price = f"{dollars(cheapest.cost)}, with {duration(cheapest.sampling_seconds)} of sampling"
    if len(able) == 1:
        return f"No other arm's mean reaches {target:.3f}; {cheapest.arm} does for {price}."
    equal = [other.arm for other in able if other is not cheapest and other.order[0] == cheapest.order[0]]
    tie = (
        f"; {_list(equal)} cost{'s' if len(equal) == 1 else ''} as much but took longer to choose rows" if equal else ""
    )
    return f"{cheapest.arm} reaches {target:.3f} at the least total cost: {price}{tie}."


def _doubts(best: Curve, rivals: Sequence[str], curves: dict[str, Curve]) -> list[str]:
    """What the numbers do not carry."""
    doubts = []
    if min(len(curve.points[-1].values) for curve in curves.values()) < 2:
        doubts.append("An arm with one seed shows no spread, so small differences may be chance.")
    if rivals:
        doubts.append(
            f"The range of {best.arm} overlaps that of {_list(rivals)}: more seeds would be needed to rank them."
        )
    if len({curve.points[-1].labelled for curve in curves.values()}) > 1:
        doubts.append("The arms end at different label counts.")
    return doubts


def _price(curve: Curve, runs: Sequence[RunRecord], target: float) -> _Price | None:
    """What the arm pays for the target, None if its mean does not reach it."""
    points = [(point.labelled, point.mean) for point in curve.points]
    labels = labels_needed(points, target)
    cost = amount_needed(points, _mean_of([cost_curve(run) for run in runs]), target)
    seconds = amount_needed(points, _mean_of([_sampling_curve(run) for run in runs]), target)
    return None if labels is None or cost is None or seconds is None else _Price(curve.arm, labels, cost, seconds)


def _sampling_curve(run: RunRecord) -> dict[int, float]:
    """Seconds that went into choosing rows, up to each label count."""
    seconds = accumulate(float(one.get("sampling_seconds") or 0.0) for one in run.rounds)
    return {int(one["labelled"]): spent for one, spent in zip(run.rounds, seconds, strict=True)}


def _mean_of(amounts: Sequence[Mapping[int, float]]) -> dict[int, float]:
    """Means by label count, over the runs that have it."""
    counts = {labelled for one in amounts for labelled in one}
    return {labelled: fmean(one[labelled] for one in amounts if labelled in one) for labelled in counts}


def _overlap(one: Curve, other: Curve) -> bool:
    a, b = one.points[-1], other.points[-1]
    return a.low <= b.high and b.low <= a.high


def _list(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
