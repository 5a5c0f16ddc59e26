"""The curves of runs on other draws of the test rows."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from asvp.report.intervals import redraw
from asvp.report.records import RunRecord


class Redrawn:
    """What the final models of runs come to on D draws of the test rows, all models on the same draws.

    Parameters
    ----------
    curves : dict of (str, int) to ndarray of shape (D, P)
        By arm and seed, accuracies at the P label counts of `accuracies("final")`.
    """

    def __init__(self, curves: dict[tuple[str, int], NDArray[np.float64]]) -> None:
        self._curves = curves

    def curves(self, run: RunRecord) -> NDArray[np.float64]:
        """Accuracies of a run's final models, shape (D, P)."""
        return self._curves[run.arm, run.seed]


def redrawn(records: Iterable[RunRecord]) -> Redrawn | None:
    """Draw test rows anew for all runs; None unless it is known of all their final models which rows they got right.

    Runs that were tested on other data, or on other numbers of rows, are not paired.
    """
    runs = [run for run in records if run.accuracies("final")]
    counts = [[labelled for labelled, _ in run.accuracies("final")] for run in runs]
    known = all(labelled in run.correct for run, points in zip(runs, counts, strict=True) for labelled in points)
    if not runs or not known or len({repr(run.config.get("data")) for run in runs}) > 1:
        return None
    rows = [run.correct[labelled] for run, points in zip(runs, counts, strict=True) for labelled in points]
    if len({len(one) for one in rows}) > 1:
        return None
    ends = np.cumsum([len(points) for points in counts])
    parts = np.split(redraw(rows), ends[:-1], axis=1)
    return Redrawn({(run.arm, run.seed): part for run, part in zip(runs, parts, strict=True)})
