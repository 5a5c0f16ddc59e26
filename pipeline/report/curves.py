"""Accuracy against labels: mean and range over seeds, arm by arm."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from asvp.report.baseline import baseline_of
from asvp.report.records import Measure, RunRecord


@dataclass(frozen=True)
class CurvePoint:
    """An arm at one label count.

    Attributes
    ----------
    labelled : int
        Labels bought.
    values : mapping of int to float
        Accuracy by seed.
    """

    labelled: int
    values: Mapping[int, float]

    @property
    def mean(self) -> float:
        return sum(self.values.values()) / len(self.values)

    @property
    def low(self) -> float:
        return min(self.values.values())

    @property
    def high(self) -> float:
        return max(self.values.values())


@dataclass(frozen=True)
class Curve:
    """An arm's learning curve.

    Attributes
    ----------
    arm : str
        Name of the arm.
    points : tuple of CurvePoint
        By rising label count, each over the seeds that were measured there; a run that is not finished is in as
        far as it went.
    refreshed_at : tuple of int
        Label counts at which the features of at least half of the seeds were refreshed.
    seeds : tuple of int
        The seeds, rising.
    """

    arm: str
    points: tuple[CurvePoint, ...]
    refreshed_at: tuple[int, ...]
    seeds: tuple[int, ...]


def by_arm(records: Iterable[RunRecord]) -> dict[str, list[RunRecord]]:
    """The runs of each arm: random picks first, then in the order of their first run."""
    runs = list(records)
    first = baseline_of(runs)
    arms: dict[str, list[RunRecord]] = {} if first is None else {first: []}
    for record in runs:
        arms.setdefault(record.arm, []).append(record)
    return arms


def learning_curves(records: Iterable[RunRecord], measure: Measure = "final") -> list[Curve]:
    """One curve an arm; an arm that was never measured so has no points."""
    return [_curve(arm, runs, measure) for arm, runs in by_arm(records).items()]


def _curve(arm: str, runs: list[RunRecord], measure: Measure) -> Curve:
    measured: dict[int, dict[int, float]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        for labelled, value in run.accuracies(measure):
            measured.setdefault(labelled, {})[run.seed] = value
    refreshes = [int(one["labelled"]) for run in runs for one in run.rounds if one.get("refreshed")]
    return Curve(
        arm=arm,
        points=tuple(CurvePoint(labelled, values) for labelled, values in sorted(measured.items())),
        refreshed_at=tuple(n for n in sorted(set(refreshes)) if 2 * refreshes.count(n) >= len(runs)),
        seeds=tuple(sorted(run.seed for run in runs)),
    )
