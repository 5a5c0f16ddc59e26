"""What people are shown of a round: what the model thought of some picks, and where rows lie on a map of the pool."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asvp.compute.jobs import Axes, Look, LookJob, Thoughts
from asvp.models.proxy import Scorer

_ROUNDS_OF_ITERATION, _WIDTH = 24, 8
"""Of the subspace iteration; the two widest axes of 1,500 rows are then found to more digits than a screen shows."""


def look(job: LookJob) -> Look:
    """Score the rows, and place others on the axes given, or on those of the sample."""
    thoughts = None
    if job.scorer is not None and len(job.rows):
        thoughts = _thoughts(job.scorer.load(), job.features.gather(job.rows))
    newest = job.features.parts[-1]
    axes = job.axes
    if axes is None:
        axes = widest_axes(newest.gather(job.sample))
    places = axes.place(newest.gather(job.placed))
    return Look(thoughts, axes, np.round(places, 3).astype(np.float32))


def widest_axes(features: NDArray[np.floating]) -> Axes:
    """The two first principal components of n features, (n, D), by subspace iteration; signs are fixed.

    Axes are scaled so that the spread along the first is 1. Nothing is random: equal features give equal axes.
    """
    centred = features.astype(np.float64)
    mean = centred.mean(axis=0)
    centred -= mean
    dim = centred.shape[1]
    width = min(_WIDTH, dim)
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((dim, width)))[0]
    # Made once where it is smaller than the features it is made of.
    product = centred.T @ centred if dim <= len(centred) else None
    for _ in range(_ROUNDS_OF_ITERATION):
        basis = np.linalg.qr(centred.T @ (centred @ basis) if product is None else product @ basis)[0]
    inside = centred @ basis
    variances, turn = np.linalg.eigh(inside.T @ inside / max(1, len(centred)))
    axes = np.zeros((dim, 2))
    found = (basis @ turn)[:, ::-1][:, :2]
    axes[:, : found.shape[1]] = found
    # An axis and its opposite are the same; the largest entry is made positive.
    axes *= np.where(axes[np.abs(axes).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    spread = float(np.sqrt(max(variances[-1], 0.0)))
    return Axes(mean, axes / spread if spread > 0 else axes)


def _thoughts(scorer: Scorer, features: NDArray[np.floating]) -> Thoughts:
    probabilities = scorer.probabilities(features)
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :2]
    return Thoughts(order, np.take_along_axis(probabilities, order, axis=1))
