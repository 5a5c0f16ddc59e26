"""How sure a mean over seeds is, for pairs that are tested on the same rows: intervals, and how many seeds would tell.

What differs from seed to seed, and what differs between the test rows that happen to be there, both blur a difference
between two arms. The first is read off the seeds themselves, with Student's t for their small number. The second is
what the seeds of a pair have in common when test rows are drawn anew, with replacement (a paired bootstrap: every model
is scored on the same draws). Of one seed the first is not known, so there is no interval: that of the test rows alone
would look surer than one of two seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

DRAWS = 1000
_LEVEL = 0.95
MOST_SEEDS = 200
"""More than anybody would run to rank two arms."""
_MOST_GROUPS = 20_000
_AT_ONCE = 50
_SURE = 1e6
"""Degrees of freedom at which Student's t is the normal distribution."""


@dataclass(frozen=True)
class Blur:
    """What makes a mean over seeds uncertain, as variances of one seed's value.

    Attributes
    ----------
    between : float
        Between seeds, chance in the test rows included; NaN for one seed.
    shared : float
        Due to the test rows, and alike for all seeds, so that no number of seeds averages it away.
    alone : float
        Due to the test rows, and each seed's own.
    """

    between: float
    shared: float = 0.0
    alone: float = 0.0

    def half_width(self, seeds: int) -> float:
        """Half the interval of a mean over so many seeds.

        The freedom of Student's t is Satterthwaite's. A few seeds may lie close together by luck: the interval is never
        narrower than the test rows alone make it. It is infinite where but one seed was seen: how far others lie from
        it is not known, and the test rows alone do not tell.
        """
        if math.isnan(self.between):
            return math.inf
        rows = _student(_SURE) * math.sqrt(self.shared + self.alone / seeds)
        of_seeds = self.between / seeds
        whole = of_seeds + self.shared
        freedom = _SURE if of_seeds == 0 else min(_SURE, (seeds - 1) * (whole / of_seeds) ** 2)
        return max(rows, _student(freedom) * math.sqrt(whole))


@dataclass(frozen=True)
class Interval:
    """A mean over seeds, and the 95 % interval around it.

    Attributes
    ----------
    mean, low, high : float
        In the unit of the values; low and high are infinite for one seed, whose spread nobody knows.
    seeds : int
        S.
    blur : Blur
    """

    mean: float
    low: float
    high: float
    seeds: int
    blur: Blur

    @property
    def tells(self) -> bool:
        """Whether the mean is told apart from zero; one seed tells nothing of others."""
        return not self.low <= 0 <= self.high

    @property
    def rows_hide_it(self) -> bool:
        """Whether the mean is so small that these test rows would not tell it with any number of seeds."""
        return abs(self.mean) <= _student(_SURE) * math.sqrt(self.blur.shared)

    def more_seeds(self) -> int | None:
        """How many seeds more would tell, if they were like those that are there; None: not with 200, or not known."""
        if self.seeds < 2 or self.tells:
            return None
        tried = range(self.seeds + 1, MOST_SEEDS + 1)
        enough = next((seeds for seeds in tried if self.blur.half_width(seeds) < abs(self.mean)), None)
        return None if enough is None else enough - self.seeds


def interval(values: Sequence[float], draws: NDArray[np.floating] | None = None) -> Interval:
    """The mean of S values, one a seed, with its 95 % interval.

    Parameters
    ----------
    values : sequence of S floats
    draws : ndarray of shape (D, S), optional
        The same values on D draws of test rows; draws in which one of them is NaN do not count.

    Raises
    ------
    ValueError
        If there are no values.
    """
    if not len(values):
        raise ValueError("there is no value to give an interval of")
    seeds, mean = len(values), float(np.mean(values))
    between = float(np.var(values, ddof=1)) if seeds > 1 else math.nan
    blur = Blur(between, *(_of_rows(draws) if draws is not None else ()))
    half = blur.half_width(seeds)
    return Interval(mean, mean - half, mean + half, seeds, blur)


def redraw(correct: Sequence[NDArray[np.bool_]], draws: int = DRAWS) -> NDArray[np.float64]:
    """Accuracies on test rows that are drawn anew, with replacement, the same for all models.

    Parameters
    ----------
    correct : sequence of K ndarrays of shape (N,), bool
        Which of N test rows each of K models gets right.
    draws : int
        D.

    Returns
    -------
    ndarray of shape (D, K), float64
        The same in every call. More than 20,000 rows are drawn in as many groups, made at random.
    """
    random = np.random.default_rng(0)
    right = np.stack(correct, axis=1).astype(np.float64)
    sizes = np.ones(len(right))
    if len(right) > _MOST_GROUPS:
        order = random.permutation(len(right))
        starts = np.linspace(0, len(right), _MOST_GROUPS, endpoint=False).astype(np.int64)
        right, sizes = np.add.reduceat(right[order], starts, axis=0), np.diff([*starts, len(order)]).astype(np.float64)
    parts = []
    for begun in range(0, draws, _AT_ONCE):
        drawn = random.integers(0, len(right), (min(_AT_ONCE, draws - begun), len(right)))
        times = np.stack([np.bincount(one, minlength=len(right)) for one in drawn]).astype(np.float64)
        parts.append(times @ right / (times @ sizes)[:, None])
    return np.concatenate(parts)


def _of_rows(draws: NDArray[np.floating]) -> tuple[float, float]:
    """Variances due to the test rows: what all seeds move by together (the covariance of two of them), and the rest."""
    whole = draws[~np.isnan(draws).any(axis=1)]
    if len(whole) < len(draws) / 2:
        return 0.0, 0.0
    covariance = np.atleast_2d(np.cov(whole, rowvar=False))
    seeds, one = len(covariance), float(np.trace(covariance)) / len(covariance)
    if seeds == 1:
        return one, 0.0
    shared = max(0.0, float(covariance.sum() - np.trace(covariance)) / (seeds * (seeds - 1)))
    return shared, max(0.0, one - shared)


def _student(freedom: float) -> float:
    return float(stdtrit(freedom, (1 + _LEVEL) / 2))
