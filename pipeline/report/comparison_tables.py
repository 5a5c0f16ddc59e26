"""The tables of a comparison."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from asvp.report.curves import by_arm
from asvp.report.intervals import Interval
from asvp.report.rankings import Behind, Ranking
from asvp.report.records import RunRecord
from asvp.report.savings import Saving, cost_curve
from asvp.report.tables import Table, count, dollars, duration, fixed, per_cent, spread

ARM_NOTE = (
    "Sampling is all the time that went into choosing rows, refreshes included; fine-tuning is refreshes and the last "
    "final model. Times and cost are means over seeds; what only measures is not in them."
)


def arm_table(records: Iterable[RunRecord]) -> Table:
    """One row an arm: final accuracy, labels, times and cost.

    The final accuracy is that of the last round with a final model, of runs that are finished; where no run of the
    arm is finished, of those that are not, which the row says. Final models at earlier label counts only measure the
    curve: their time and cost are no part of the row.
    """
    rows, numbers = [], []
    for arm, runs in by_arm(records).items():
        finished = [run for run in runs if run.finished]
        counted = finished or runs
        finals = [points[-1][1] for run in counted if (points := run.accuracies("final"))]
        proxies = [points[-1][1] for run in counted if (points := run.accuracies("proxy"))]
        values: dict[str, Any] = {
            "arm": arm,
            "runs": len(runs),
            "finished": len(finished),
            "labels": _mean([run.labelled for run in counted]),
            "final_accuracy": _mean(finals),
            "final_accuracy_min": min(finals, default=None),
            "final_accuracy_max": max(finals, default=None),
            "final_macro_f1": _mean([f1 for run in counted if (f1 := _last(run, "final_macro_f1")) is not None]),
            "proxy_accuracy": _mean(proxies),
            "refreshes": _mean([sum(bool(one.get("refreshed")) for one in run.rounds) for run in counted]),
            "sampling_seconds": _mean([run.total("sampling_seconds") for run in counted]),
            "finetune_seconds": _mean([_finetune_seconds(run) for run in counted]),
            "saved_seconds": _mean([run.total("saved_seconds") for run in counted]),
            "cost": _mean([list(cost_curve(run).values())[-1] for run in counted]),
        }
        numbers.append(values)
        rows.append(
            (
                arm,
                str(len(runs)) if len(finished) == len(runs) else f"{len(finished)} of {len(runs)} finished",
                count(values["labels"]),
                spread(finals),
                f"{values['refreshes']:.3g}",
                duration(values["sampling_seconds"]),
                duration(values["finetune_seconds"]),
                dollars(values["cost"]),
            )
        )
    return Table(
        title="Arms",
        columns=("arm", "seeds", "labels", "final accuracy", "refreshes", "sampling", "fine-tuning", "cost"),
        rows=tuple(rows),
        numbers=tuple(numbers),
        note=ARM_NOTE,
    )


_WIDEST = 1.0
"""Of an interval of labels saved that is shown."""
_ONE_SEED = "one seed"
"""In place of an interval: the test rows alone would give one, which looks surer than that of two seeds."""
_NO_INTERVAL = " One seed has no interval, and tells nothing apart."


def savings_table(found: Sequence[Saving]) -> Table:
    """One row a target and arm: labels and dollars needed, and labels saved against random picks."""
    rows, numbers = [], []
    for saving in found:
        labels, cost, ratios = (list(group.values()) for group in (saving.labels, saving.dollars, saving.ratio))
        bound = bool(saving.at_most)
        rows.append(
            (
                f"{saving.target:.3f}",
                saving.arm,
                f"{len(labels)} of {saving.seeds}" if saving.seeds else "no curve",
                _bounded(count(_mean(labels)), "\u2264", bound),
                _bounded(dollars(_mean(cost)), "\u2264", bound),
                _bounded(spread(ratios, percent=True), "\u2265", bool(saving.at_most & set(saving.ratio))),
                _share_range(saving.saved),
            )
        )
        numbers.append(
            {
                "target_accuracy": saving.target,
                "arm": saving.arm,
                "seeds": saving.seeds,
                "seeds_reaching": len(labels),
                "labels": _mean(labels),
                "cost": _mean(cost),
                "at_most": bound,
                "saved": _mean(ratios),
                "saved_min": min(ratios, default=None),
                "saved_max": max(ratios, default=None),
                "saved_low": _finite(saving.saved, "low"),
                "saved_high": _finite(saving.saved, "high"),
            }
        )
    return Table(
        title="Labels and cost for an accuracy of final models",
        columns=("accuracy", "arm", "seeds reaching", "labels", "cost", "labels saved", "95 % interval"),
        rows=tuple(rows),
        numbers=tuple(numbers),
        names=2,
        note="By straight lines between final models. Labels saved: against random picks with the same seed, mean and "
        "range over seeds; the 95 % interval is of that mean. \u2264: a curve begins above this accuracy, so fewer "
        f"labels might do.{_NO_INTERVAL if any(row[-1] == _ONE_SEED for row in rows) else ''}",
    )


def rankings_table(found: Sequence[Ranking]) -> Table:
    """One row a total cost and arm: how far it is behind the best arm there, and how sure that is."""
    rows: list[tuple[str, ...]] = []
    numbers = []
    for ranking in found:
        best = Behind(ranking.best, ranking.accuracy.mean, None)
        for other in (best, *ranking.behind):
            difference, is_best = other.difference, other is best
            seeds = ranking.accuracy.seeds if is_best else difference.seeds if difference else 0
            rows.append(
                (
                    ranking.amount,
                    other.arm,
                    f"{other.accuracy:.3f}",
                    "best" if is_best else "-" if difference is None else fixed(difference.mean, 3),
                    _range(difference),
                    str(seeds),
                    "" if is_best else "yes" if other.told_apart else "no",
                )
            )
            numbers.append(
                {
                    "cost": ranking.cost,
                    "labelled": ranking.labelled,
                    "arm": other.arm,
                    "final_accuracy": other.accuracy,
                    "behind": 0.0 if is_best else difference and difference.mean,
                    "behind_low": _finite(difference, "low"),
                    "behind_high": _finite(difference, "high"),
                    "seeds": seeds,
                    "told_apart": None if is_best else other.told_apart,
                    "more_seeds": difference and difference.more_seeds(),
                }
            )
    return Table(
        title="Arms at the same total cost",
        columns=("total cost", "arm", "final accuracy", "behind the best", "95 % interval", "seeds", "told apart"),
        rows=tuple(rows),
        numbers=tuple(numbers),
        names=2,
        note="Total cost: labels, choosing and one final model. Behind: paired, seed by seed. Told apart: the interval "
        "does not hold 0, and the difference is 0.001 or more."
        f"{_NO_INTERVAL if any(row[4] == _ONE_SEED for row in rows) else ''}",
    )


def curve_table(records: Iterable[RunRecord]) -> Table:
    """One row an arm, seed and round: what the learning curves are drawn from."""
    columns = ("labelled", "feature_version", "refreshed", "proxy_accuracy", "final_accuracy", "logme", "logme_ped")
    numbers = [
        {"arm": record.arm, "seed": record.seed, **{column: one.get(column) for column in columns}}
        for record in records
        for one in record.rounds
    ]
    return Table(
        title="Rounds",
        columns=("arm", "seed", *columns),
        rows=tuple(tuple("" if value is None else str(value) for value in row.values()) for row in numbers),
        numbers=tuple(numbers),
        names=2,
    )


def _bounded(text: str, sign: str, bound: bool) -> str:
    return f"{sign} {text}" if bound and text != "-" else text


def _range(found: Interval | None) -> str:
    if found is None:
        return "-"
    return _ONE_SEED if found.seeds == 1 else f"{fixed(found.low, 3)} to {fixed(found.high, 3)}"


def _share_range(found: Interval | None) -> str:
    """An interval of shares; one from "twice the labels" to "none at all" would only look like knowledge."""
    if found is None:
        return "-"
    if found.seeds == 1:
        return _ONE_SEED
    if found.high - found.low > _WIDEST:
        return f"too wide ({found.seeds} seeds)"
    return f"{per_cent(found.low)} to {per_cent(found.high)}"


def _finite(found: Interval | None, end: str) -> float | None:
    """An end of an interval; None where nothing is known of it, which JSON has no number for."""
    value = None if found is None else float(getattr(found, end))
    return value if value is not None and math.isfinite(value) else None


def _finetune_seconds(run: RunRecord) -> float:
    """Of refreshes and the last final model."""
    earlier = sum(float(one.get("training_seconds") or 0.0) for one in run.rounds[:-1])
    return run.total("seconds", "finetune") - earlier


def _last(run: RunRecord, key: str) -> float | None:
    """The last number that a run measured."""
    return next((float(one[key]) for one in reversed(run.rounds) if one.get(key) is not None), None)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
