"""LogME: how well features explain labels, as the maximum evidence of a Bayesian linear model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asvp.alignment.labelled import LabelledFeatures, require_finite

RESIDUAL_FLOOR = 1e-8
"""Least noise variance, as a share of a target's mean square, where rows outnumber the rank of the features. Below it a
fit is called perfect: without a floor its evidence has no upper bound, and the unexplained part of a target is what
float64 sums leave of 1, about 1e-14."""

RATIO_RANGE = 1e10
"""Bounds of alpha/beta in units of the largest eigenvalue. The error of the Gram matrix's eigenvalues, about 1e-16 of
the largest one, then changes alpha/beta + sigma by at most a millionth."""

_LEAST_DOUBT = 1e-9
"""Error of the log evidence per row, by the rounding of small eigenvalues, from which on they are computed exactly. It
takes features that explain the labels all but perfectly."""

_PLATEAU = 1e8
"""Features of full row rank explain every target, and as alpha/beta falls the evidence may rise to a level that it does
not pass. At so small a share of the least eigenvalue it is there, to a hundred-millionth."""

_GRID_STEP = 0.1
"""Of log(alpha/beta), at which the evidence of all classes is looked at. As a function of it the evidence changes over
no less than about 1, so between two points there is no maximum that they do not show."""

_COMMON_EXPONENT = 300
"""Of two: the squares of smaller and larger numbers would leave the range of float64."""

_NEWTON_STEPS = 50
_SETTLED = 1e-7
"""Change of log(alpha/beta) at which a maximum is found; the evidence there is off by its square."""


@dataclass(frozen=True)
class Evidence:
    """Evidence of one-vs-rest targets, one entry for each of the C classes present.

    Attributes
    ----------
    classes : ndarray (C,) of int64
        Labels, ascending.
    alpha : ndarray (C,) of float64
        Fitted precision of the weights' prior.
    beta : ndarray (C,) of float64
        Fitted precision of the noise.
    log_evidence : ndarray (C,) of float64
        Natural logarithm of the target's density under a Gaussian of mean 0 and covariance I/beta + F F^T/alpha.
    rows : int
        N, the length of a target.
    """

    classes: NDArray[np.int64]
    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    log_evidence: NDArray[np.float64]
    rows: int


def logme(features: NDArray[Any], labels: NDArray[Any]) -> float:
    """Maximum log evidence per row, averaged over the classes present.

    Parameters
    ----------
    features : ndarray (N, D) of float16, float32 or float64
        Features F of the labelled rows; any N and D, any rank.
    labels : ndarray (N,) of integers
        Class numbers; they need be neither dense nor non-negative.

    Returns
    -------
    float
        In nats a row; higher means that the features explain the labels better. Levels of different data sets, or of
        different numbers of classes, cannot be compared.

    Raises
    ------
    DataError
        If the arrays do not fit together, values are masked or a feature is not finite.

    References
    ----------
    You, Liu, Wang, Long: "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021.
    You, Liu, Zhang, Wang, Jordan, Long: "Ranking and Tuning Pre-trained Models", JMLR 2022. Their fixed point of alpha
    and beta is left before it converges, and need not be the highest; here the evidence itself is maximised.
    """
    evidence = fit_evidence(features, labels)
    return float(evidence.log_evidence.mean() / evidence.rows)


def fit_evidence(features: NDArray[Any], labels: NDArray[Any]) -> Evidence:
    """Maximise the log evidence of every class over alpha and beta.

    One eigendecomposition of the smaller Gram matrix (F^T F, D x D, or F F^T, N x N) serves all classes. For a given
    ratio alpha/beta the best beta has a closed form, so that the evidence is a function of the ratio alone: its maxima
    are found on a grid, by two products of small matrices for all classes, and made exact by Newton steps that all of
    them take together. Time O(N D min(N, D) + min(N, D)^2 C); memory beyond the features
    O(min(N, D)^2 + min(N, D) C), in float64.

    The ratio is kept within `RATIO_RANGE` of the largest eigenvalue (and lower where that is safe, see `_PLATEAU`), and
    beta below what `RESIDUAL_FLOOR` says.

    The Gram matrix squares the condition number, so singular values under about 1e-8 of the largest are lost in it.
    That is harmless here: eigenvalues enter only beside alpha/beta, which is kept within `RATIO_RANGE` of the largest
    one, and features stored as float32 carry nothing below 6e-8 of it anyway.

    Parameters
    ----------
    features, labels
        As for `logme`.

    Raises
    ------
    DataError
        As `logme`.
    """
    rows, exponent = _of_common_size(LabelledFeatures.check(features, labels))
    profile = _profile(rows, *_spectrum(rows))
    ratio = profile.best_ratio()
    if profile.doubt(ratio) > _LEAST_DOUBT:
        profile = _profile(rows, *_exact_spectrum(rows))
        ratio = profile.best_ratio()
    beta, log_evidence = profile.at(ratio)
    return Evidence(
        classes=rows.classes,
        alpha=np.ldexp(ratio * beta, 2 * exponent),
        beta=beta,
        log_evidence=log_evidence,
        rows=len(rows.features),
    )


def _of_common_size(rows: LabelledFeatures) -> tuple[LabelledFeatures, int]:
    """Features divided by two to some power where float64 could not hold their squares; alpha takes it up."""
    largest = max(float(rows.features.max()), -float(rows.features.min()))
    exponent = int(np.frexp(largest)[1])
    if largest == 0 or not np.isfinite(largest) or abs(exponent) < _COMMON_EXPONENT:
        return rows, 0
    return replace(rows, features=np.ldexp(rows.features.astype(np.float64), -exponent)), exponent


def _profile(rows: LabelledFeatures, eigenvalues: NDArray[np.float64], loadings: NDArray[np.float64]) -> _Profile:
    count, energy = len(rows.features), rows.counts.astype(np.float64)
    if len(eigenvalues) == count:
        # Features of full row rank explain every target, and yet the evidence is bounded.
        least = min(eigenvalues[-1] / RATIO_RANGE, eigenvalues[0] / _PLATEAU)
        return _Profile(eigenvalues, loadings, np.zeros_like(energy), np.full_like(energy, np.inf), least, count)
    outside = np.maximum(energy - loadings.sum(axis=0), 0.0)
    least = eigenvalues[-1] / RATIO_RANGE if len(eigenvalues) else 1.0
    return _Profile(eigenvalues, loadings, outside, count / (RESIDUAL_FLOOR * energy), least, count)


def _spectrum(rows: LabelledFeatures) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Non-zero eigenvalues (k,) of F F^T and each target's squared coordinates (k, C) on its eigenvectors."""
    count, dim = rows.features.shape
    if count > dim:
        gram, sums = np.zeros((dim, dim)), np.zeros((len(rows.classes), dim))
        for block, codes, starts in rows.sorted_blocks():
            gram += block.T @ block
            sums[codes] += np.add.reduceat(block, starts)
        eigenvalues, vectors, kept = _eigen(gram, max(count, dim))
        return eigenvalues[kept], ((vectors.T @ sums.T)[kept]) ** 2 / eigenvalues[kept, None]
    gram = np.zeros((count, count))
    for columns in rows.column_blocks():
        gram += columns @ columns.T
    eigenvalues, vectors, kept = _eigen(gram, max(count, dim))
    order = np.argsort(rows.codes, kind="stable")
    starts = np.concatenate([[0], np.cumsum(rows.counts)[:-1]])
    return eigenvalues[kept], np.add.reduceat(vectors[order], starts).T[kept] ** 2


def _exact_spectrum(rows: LabelledFeatures) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """As `_spectrum`, by singular values: slower, with N x D doubles, and twice the digits of small eigenvalues."""
    order = np.argsort(rows.codes, kind="stable")
    left, singular, _ = np.linalg.svd(rows.features[order].astype(np.float64), full_matrices=False)
    kept = np.flatnonzero(singular > max(rows.features.shape) * np.finfo(np.float64).eps * singular[0])[::-1]
    starts = np.concatenate([[0], np.cumsum(rows.counts)[:-1]])
    return singular[kept] ** 2, np.add.reduceat(left, starts).T[kept] ** 2


def _eigen(gram: NDArray[np.float64], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Eigenvalues, eigenvectors and which eigenvalues stand out from rounding."""
    require_finite(gram)
    eigenvalues, vectors = np.linalg.eigh(gram)
    return eigenvalues, vectors, eigenvalues > size * np.finfo(np.float64).eps * max(eigenvalues[-1], 0.0)


@dataclass(frozen=True)
class _Profile:
    """Log evidence of every class as a function of the ratio alpha/beta, at the best beta for it.

    The target's density is that under N(0, (I + F F^T / ratio) / beta); zero eigenvalues of F F^T need no term.

    Attributes
    ----------
    eigenvalues : ndarray (k,)
        Of F F^T, those above zero, ascending.
    loadings : ndarray (k, C)
        Squared coordinates of each target on the eigenvectors.
    outside : ndarray (C,)
        Squared length of the rest of each target.
    most : ndarray (C,)
        Upper bound of beta.
    least : float
        Lower bound of the ratio.
    count : int
        N.
    """

    eigenvalues: NDArray[np.float64]
    loadings: NDArray[np.float64]
    outside: NDArray[np.float64]
    most: NDArray[np.float64]
    least: float
    count: int

    def at(self, ratio: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Beta and log evidence of each class at its ratio, (C,)."""
        shrunk = ratio / (self.eigenvalues[:, None] + ratio)
        quadratic = (self.loadings * shrunk).sum(axis=0) + self.outside
        logarithms = np.log1p(self.eigenvalues[:, None] / ratio).sum(axis=0)
        return self._evidence(quadratic, logarithms, self.most)

    def doubt(self, ratio: NDArray[np.float64]) -> float:
        """What rounding in the Gram matrix's eigenvalues may change of a class's log evidence per row."""
        if not len(self.eigenvalues):
            return 0.0
        sigma = self.eigenvalues[:, None]
        shifts = (1.0 / (sigma + ratio)).sum(axis=0) / self.count
        # Coordinates found through F^T F are divided by eigenvalues, and what is outside is the rest of them.
        quadratic = (self.loadings * ratio / (sigma + ratio)).sum(axis=0) + self.outside
        shares = (self.loadings / sigma).sum(axis=0) / quadratic
        return float(np.finfo(np.float64).eps * self.eigenvalues[-1] * (shifts + shares).max())

    def best_ratio(self) -> NDArray[np.float64]:
        """The ratio of the highest log evidence of each class, (C,)."""
        if not len(self.eigenvalues):
            return np.ones_like(self.outside)
        low, high = np.log(self.least), np.log(self.eigenvalues[-1] * RATIO_RANGE)
        places = np.linspace(low, high, int((high - low) / _GRID_STEP) + 2)
        heights = self._on_grid(np.exp(places))
        edge = np.full((1, heights.shape[1]), -np.inf)
        padded = np.vstack([edge, heights, edge])
        # Every peak of the grid stands for a maximum of its own; which is the highest is decided at the maxima.
        peaks, classes = np.nonzero((heights >= padded[:-2]) & (heights > padded[2:]))
        found = self._maxima(classes, places[np.maximum(peaks - 1, 0)], places[np.minimum(peaks + 1, len(places) - 1)])
        _, reached = self._of(classes).at(np.exp(found))
        order = np.lexsort((-reached, classes))
        firsts = order[np.unique(classes[order], return_index=True)[1]]
        return np.asarray(np.exp(found[firsts]))

    def _on_grid(self, ratios: NDArray[np.float64]) -> NDArray[np.float64]:
        """Log evidence of all classes at all ratios, (len(ratios), C)."""
        shrunk = ratios[:, None] / (self.eigenvalues + ratios[:, None])
        quadratic = shrunk @ self.loadings + self.outside
        logarithms = np.log1p(self.eigenvalues / ratios[:, None]).sum(axis=1)[:, None]
        return self._evidence(quadratic, logarithms, self.most)[1]

    def _evidence(
        self, quadratic: NDArray[np.float64], logarithms: NDArray[np.float64], most: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        beta = np.minimum(self.count / quadratic, most)
        return beta, 0.5 * (self.count * np.log(beta / (2 * np.pi)) - logarithms - beta * quadratic)

    def _of(self, classes: NDArray[np.int64]) -> _Profile:
        """The profile of some classes, repeats allowed."""
        return replace(self, loadings=self.loadings[:, classes], outside=self.outside[classes], most=self.most[classes])

    def _maxima(
        self, classes: NDArray[np.int64], low: NDArray[np.float64], high: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Log ratios of the maxima between `low` and `high`, each of one class; an end where the slope leads there."""
        places, active = (low + high) / 2, np.arange(len(classes))
        for _ in range(_NEWTON_STEPS):
            place = places[active]
            slope, curvature = self._of(classes[active])._derivatives(place)
            low, high = np.where(slope > 0, place, low), np.where(slope > 0, high, place)
            with np.errstate(divide="ignore", invalid="ignore"):
                step = place - slope / curvature
            inside = (curvature < 0) & (step > low) & (step < high)
            places[active] = np.where(inside, step, (low + high) / 2)
            moving = np.abs(places[active] - place) >= _SETTLED
            active, low, high = active[moving], low[moving], high[moving]
            if not len(active):
                break
        return places

    def _derivatives(self, place: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """First and second derivative of the log evidence by the log ratio, (C,) each."""
        ratio = np.exp(place)
        shrunk = ratio / (self.eigenvalues[:, None] + ratio)
        rest = self.eigenvalues[:, None] / (self.eigenvalues[:, None] + ratio)
        quadratic = (self.loadings * shrunk).sum(axis=0) + self.outside
        first = (self.loadings * shrunk * rest).sum(axis=0)
        second = (self.loadings * shrunk * rest * (rest - shrunk)).sum(axis=0)
        beta = np.minimum(self.count / quadratic, self.most)
        # Where beta is at its bound it does not follow the ratio.
        follows = np.where(beta < self.most, first**2 / quadratic, 0.0)
        slope = 0.5 * (rest.sum(axis=0) - beta * first)
        curvature = -0.5 * ((shrunk * rest).sum(axis=0) + beta * (second - follows))
        return slope, curvature
