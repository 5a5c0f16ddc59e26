"""LogME: how well features explain labels, as the maximum evidence of a Bayesian linear model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asvp.alignment.labelled import LabelledFeatures, require_finite

MAX_STEPS = 11
"""Fixed-point steps; most classes settle within three or four."""

RELATIVE_CHANGE = 1e-3
"""A class has settled when its ratio alpha/beta changes by less than this share."""

RESIDUAL_FLOOR = 1e-6
"""Least unexplained share of a target's energy. Below it (the square of float16's precision) a fit is called perfect;
without a floor the evidence of a perfect fit has no upper bound."""

RATIO_RANGE = 1e10
"""Bounds of alpha/beta in units of the largest eigenvalue. The error of the Gram matrix's eigenvalues, about 1e-16 of
the largest one, then changes alpha/beta + sigma by at most a millionth."""


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
        If the arrays do not fit together or a feature is not finite.

    References
    ----------
    You, Liu, Wang, Long: "LogME: Practical Assessment of Pre-trained Models for Transfer Learning", ICML 2021.
    You, Liu, Zhang, Wang, Jordan, Long: "Ranking and Tuning Pre-trained Models", JMLR 2022 (the fixed point).
    """
    evidence = fit_evidence(features, labels)
    return float(evidence.log_evidence.mean() / evidence.rows)


def fit_evidence(features: NDArray[Any], labels: NDArray[Any]) -> Evidence:
    """Fit alpha and beta of every class and evaluate the exact log evidence there.

    One eigendecomposition of the smaller Gram matrix (F^T F, D x D, or F F^T, N x N) serves all classes, and all
    classes take each fixed-point step together. Time O(N D min(N, D) + min(N, D)^2 C); memory beyond the features
    O(min(N, D)^2 + min(N, D) C), in float64.

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
    rows = LabelledFeatures.check(features, labels)
    eigenvalues, loadings = _spectrum(rows)
    energy = rows.counts.astype(np.float64)
    outside = np.maximum(energy - loadings.sum(axis=0), 0.0)
    count = len(rows.features)
    if len(eigenvalues) == count:
        outside[:] = 0.0
    alpha, beta = _fixed_point(eigenvalues, loadings, outside, energy, count)
    return Evidence(
        classes=rows.classes,
        alpha=alpha,
        beta=beta,
        log_evidence=_log_evidence(eigenvalues, loadings, outside, count, alpha, beta),
        rows=count,
    )


def _spectrum(rows: LabelledFeatures) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Non-zero eigenvalues (k,) of F F^T and each target's squared coordinates (k, C) on its eigenvectors."""
    count, dim = rows.features.shape
    if count >= dim:
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


def _eigen(gram: NDArray[np.float64], size: int) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Eigenvalues, eigenvectors and which eigenvalues stand out from rounding."""
    require_finite(gram)
    eigenvalues, vectors = np.linalg.eigh(gram)
    return eigenvalues, vectors, eigenvalues > size * np.finfo(np.float64).eps * max(eigenvalues[-1], 0.0)


def _fixed_point(
    eigenvalues: NDArray[np.float64],
    loadings: NDArray[np.float64],
    outside: NDArray[np.float64],
    energy: NDArray[np.float64],
    count: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Alpha and beta of every class; a class that has settled is left as it is."""
    largest = eigenvalues[-1] if len(eigenvalues) else 1.0
    sigma = eigenvalues[:, None]
    alpha, beta, active = np.ones_like(energy), np.ones_like(energy), np.arange(len(energy))
    for _ in range(MAX_STEPS):
        ratio = alpha[active] / beta[active]
        shrunk = ratio / (sigma + ratio)
        squares = loadings[:, active]
        residual = (squares * shrunk**2).sum(axis=0) + outside[active]
        weights = (squares * (shrunk / ratio) ** 2 * sigma).sum(axis=0)
        # rows minus effective parameters, summed so that no digits cancel when the features fit everything
        freedom = count - len(eigenvalues) + shrunk.sum(axis=0)
        effective = (1.0 - shrunk).sum(axis=0)
        beta[active] = freedom / np.maximum(residual, RESIDUAL_FLOOR * energy[active])
        wanted = effective / np.maximum(weights, 1e-300) / beta[active]
        settled = np.clip(wanted, largest / RATIO_RANGE, largest * RATIO_RANGE)
        alpha[active] = settled * beta[active]
        active = active[np.abs(settled - ratio) >= RELATIVE_CHANGE * ratio]
        if len(active) == 0:
            break
    return alpha, beta


def _log_evidence(
    eigenvalues: NDArray[np.float64],
    loadings: NDArray[np.float64],
    outside: NDArray[np.float64],
    count: int,
    alpha: NDArray[np.float64],
    beta: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Log density of each target under N(0, I/beta + F F^T/alpha); zero eigenvalues need no term of their own."""
    ratio = alpha / beta
    spread = eigenvalues[:, None] / ratio
    quadratic = beta * ((loadings / (1.0 + spread)).sum(axis=0) + outside)
    evidence: NDArray[np.float64] = 0.5 * (
        count * np.log(beta / (2 * np.pi)) - np.log1p(spread).sum(axis=0) - quadratic
    )
    return evidence
