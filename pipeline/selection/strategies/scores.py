"""Strategies that rank rows one by one: the highest score first."""

from __future__ import annotations

from typing import Any

import numpy as np

from asvp.selection.contract import Options, Run, StrategyInfo
from asvp.selection.pool.pool import Block, Pool, Score
from asvp.selection.rows import Array


def by_score(score: Score) -> Run:
    """The run of a strategy that picks the rows of the highest score."""

    def run(pool: Pool, budget: int, _: Any, __: np.random.Generator) -> Array:
        return pool.best(score, budget)

    return run


def entropies(probabilities: Array) -> Array:
    """Shannon entropy (nats) of each row of an (n, C) matrix, with 0 log 0 = 0."""
    return np.asarray(-np.sum(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0)), axis=1))


def margins(probabilities: Array) -> Array:
    """Largest minus second largest entry of each row of an (n, C) matrix; the largest itself where C is 1."""
    if probabilities.shape[1] == 1:
        return np.asarray(probabilities[:, 0])
    # Two searches for the largest are many times faster than a partial sort of each row.
    rows, best = np.arange(len(probabilities)), probabilities.argmax(axis=1)
    others = probabilities.copy()
    others[rows, best] = -np.inf
    return np.asarray(probabilities[rows, best].astype(np.float64) - others.max(axis=1))


def _least_confidence(block: Block) -> Array:
    return np.asarray(-block.probabilities.max(axis=1))


def _margin(block: Block) -> Array:
    return -margins(block.probabilities)


def _entropy(block: Block) -> Array:
    return entropies(block.probabilities.astype(np.float64))


def _random(pool: Pool, budget: int, _: Options, rng: np.random.Generator) -> Array:
    return rng.permutation(pool.unlabelled())[:budget]


RANDOM = StrategyInfo(
    name="random",
    summary="Rows drawn uniformly without replacement; the baseline, and the usual first round.",
    paper="-",
    run=_random,
    sharded=True,
    complexity="time O(N), memory O(N)",
)
LEAST_CONFIDENCE = StrategyInfo(
    name="least_confidence",
    summary="Rows whose most probable class is least probable.",
    paper="Lewis and Gale 1994, A sequential algorithm for training text classifiers",
    run=by_score(_least_confidence),
    score=_least_confidence,
    inputs=("probabilities",),
    sharded=True,
    complexity="time O(NC), memory O(N + B)",
)
MARGIN = StrategyInfo(
    name="margin",
    summary="Rows whose two most probable classes are closest.",
    paper="Scheffer, Decomain and Wrobel 2001, Active hidden Markov models for information extraction",
    run=by_score(_margin),
    score=_margin,
    inputs=("probabilities",),
    sharded=True,
    complexity="time O(NC), memory O(N + B)",
)
ENTROPY = StrategyInfo(
    name="entropy",
    summary="Rows whose class distribution has the largest entropy.",
    paper="Shannon 1948; Settles 2009, Active learning literature survey",
    run=by_score(_entropy),
    score=_entropy,
    inputs=("probabilities",),
    sharded=True,
    complexity="time O(NC), memory O(N + B)",
)
