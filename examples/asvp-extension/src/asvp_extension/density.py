"""Information density: rows that are uncertain and lie where many other rows lie."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from asvp.selection import Block, Options, Pool, StrategyInfo


class InformationDensityOptions(Options):
    """Options of information_density."""

    beta: float = Field(default=1.0, ge=0, description="Weight of the density, its exponent; 0 is margin alone.")


def unit_length(features: np.ndarray) -> np.ndarray:
    """Rows of (n, D) as float64 of length 1; rows of zeros stay."""
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)


def mean_direction(pool: Pool) -> np.ndarray:
    """The mean of the unlabelled rows of length 1, (D,), block by block.

    A row's product with it is its mean cosine similarity to all unlabelled rows: one pass in place of all pairs.
    """
    free = ~pool.is_labelled()
    total = np.zeros(pool.features.dim)
    for block in pool.blocks():
        total += unit_length(block.features)[free[block.start : block.start + len(block)]].sum(axis=0)
    return total / free.sum()


def information_density(
    pool: Pool, budget: int, options: InformationDensityOptions, rng: np.random.Generator
) -> np.ndarray:
    """Rows of the highest uncertainty times density to the power of beta (equation 4), best first.

    Uncertainty is one minus the margin between the two most probable classes. Similarities below zero count as zero.
    """
    mean = mean_direction(pool)

    def score(block: Block) -> np.ndarray:
        ordered = np.sort(block.probabilities.astype(np.float64), axis=1)
        margin = ordered[:, -1] - ordered[:, -2] if ordered.shape[1] > 1 else ordered[:, -1]
        density = np.maximum(unit_length(block.features) @ mean, 0)
        return (1 - margin) * density**options.beta

    return pool.best(score, budget)


INFORMATION_DENSITY = StrategyInfo(
    name="information_density",
    summary="Rows of small margin in regions of the encoder's feature space where many rows are.",
    paper="Settles and Craven 2008, An analysis of active learning strategies for sequence labeling tasks",
    run=information_density,
    inputs=("features", "probabilities"),
    representation="raw",
    options=InformationDensityOptions,
    complexity="time O(N (C log C + D)), memory O(N + B + D)",
)
