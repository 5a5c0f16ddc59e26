"""What an arm pays in all for an accuracy, and whether another pays more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from asvp.report.intervals import interval
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn
from asvp.report.savings import amount_needed, cost_curve
from asvp.report.tables import dollars


@dataclass(frozen=True)
class Price:
    """What an arm pays, labels and compute together, for an accuracy that all its runs reach.

    Attributes
    ----------
    arm : str
    paid : mapping of int to float
        Dollars by seed.
    at_most : bool
        Whether a curve begins above the accuracy, so that less might do.
    draws : mapping of int to ndarray of shape (D,)
        Dollars by seed on D draws of test rows; empty where these are not known.
    """

    arm: str
    paid: Mapping[int, float]
    at_most: bool
    draws: Mapping[int, NDArray[np.float64]]

    @property
    def mean(self) -> float:
        """Dollars, over the seeds."""
        return fmean(self.paid.values())

    @property
    def text(self) -> str:
        """For a sentence."""
        return f"{'at most ' if self.at_most else ''}{dollars(self.mean)}"

    def dearer_than(self, other: Price) -> bool:
        """Whether it is more than another arm's, seed by seed, by more than chance; never where either is a bound."""
        shared = [seed for seed in self.paid if seed in other.paid]
        if not shared or self.at_most:
            return False
        draws = [self.draws[seed] - other.draws[seed] for seed in shared] if self.draws and other.draws else []
        more = [self.paid[seed] - other.paid[seed] for seed in shared]
        found = interval(more, np.stack(draws, axis=1) if draws else None)
        # Half a cent is none that anybody would mind.
        return found.tells and found.mean >= 0.005


def price_of(runs: Sequence[RunRecord], target: float, redrawn: Redrawn | None) -> Price:
    """What the runs of an arm pay for an accuracy that all of them reach."""
    return Price(
        arm=runs[0].arm,
        paid={run.seed: float(_needed(run, [value for _, value in run.accuracies("final")], target)) for run in runs},
        at_most=any(run.accuracies("final")[0][1] > target for run in runs),
        draws={run.seed: _needed(run, redrawn.curves(run), target) for run in runs} if redrawn else {},
    )


def _needed(run: RunRecord, accuracies: Sequence[float] | NDArray[np.float64], target: float) -> NDArray[np.float64]:
    costs = cost_curve(run)
    return amount_needed([costs[labelled] for labelled, _ in run.accuracies("final")], accuracies, target)
