"""Strategies that rank rows one by one: a score a row, a map over blocks, a merge of the best."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.selection.contract import Block, Options, Pool, Run, Score, StrategyInfo
from pipeline.selection.rows import Array

Best = tuple[Array, Array]
"""Row numbers and their scores, best first."""


def best_of_block(first: int, scores: Array, excluded: Array, budget: int) -> Best:
    """The `budget` best rows of a block, best first, ties by row number.

    Parameters
    ----------
    first : int
        Row number of the block's first row.
    scores : ndarray, shape (n,)
    excluded : ndarray of bool, shape (n,)
        Rows that may not be picked.
    """
    free = np.flatnonzero(~excluded)
    return _best(free + first, np.asarray(scores, dtype=np.float64)[free], budget)


def merge_best(parts: Iterable[Best], budget: int) -> Best:
    """The `budget` best rows of several such lists; the same whatever the parts."""
    listed = list(parts)
    return _best(np.concatenate([rows for rows, _ in listed]), np.concatenate([scores for _, scores in listed]), budget)


def by_score(score: Score) -> Run:
    """The run of a strategy that picks the rows of the highest score."""

    def run(pool: Pool, budget: int, _: Any, __: np.random.Generator) -> Array:
        labelled = pool.is_labelled()
        best: Best = (np.empty(0, dtype=np.int64), np.empty(0))
        for block in pool.blocks():
            scores = score(block)
            excluded = labelled[block.first : block.first + len(scores)]
            best = merge_best([best, best_of_block(block.first, scores, excluded, budget)], budget)
        return best[0]

    return run


def _best(rows: Array, scores: Array, budget: int) -> Best:
    if len(rows) > 4 * budget:
        # Everything tied with the last place stays in, so that ties are settled by the sort below.
        least = np.partition(scores, len(scores) - budget)[len(scores) - budget]
        rows, scores = rows[scores >= least], scores[scores >= least]
    order = np.lexsort((rows, -scores))[:budget]
    return rows[order], scores[order]


def _probabilities(block: Block) -> Array:
    if block.probabilities is None:
        raise ValueError("the strategy needs probabilities")
    return block.probabilities.astype(np.float64)


def entropies(probabilities: Array) -> Array:
    """Shannon entropy (nats) of each row of an (n, C) matrix, with 0 log 0 = 0."""
    return np.asarray(-np.sum(probabilities * np.log(np.where(probabilities > 0, probabilities, 1.0)), axis=1))


def margins(probabilities: Array) -> Array:
    """Largest minus second largest entry of each row of an (n, C) matrix; the largest itself where C is 1."""
    if probabilities.shape[1] == 1:
        return np.asarray(probabilities[:, 0])
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def _least_confidence(block: Block) -> Array:
    return np.asarray(-_probabilities(block).max(axis=1))


def _margin(block: Block) -> Array:
    return -margins(_probabilities(block))


def _entropy(block: Block) -> Array:
    return entropies(_probabilities(block))


def _random(pool: Pool, budget: int, _: Options, rng: np.random.Generator) -> Array:
    return rng.permutation(pool.unlabelled())[:budget]


RANDOM = StrategyInfo(
    name="random",
    summary="Rows drawn uniformly without replacement; the baseline, and the usual first round.",
    paper="-",
    run=_random,
    complexity="time O(N), memory O(N)",
)
LEAST_CONFIDENCE = StrategyInfo(
    name="least_confidence",
    summary="Rows whose most probable class is least probable.",
    paper="Lewis and Gale 1994, A sequential algorithm for training text classifiers",
    run=by_score(_least_confidence),
    score=_least_confidence,
    inputs=("probabilities",),
    complexity="time O(NC), memory O(N + B)",
)
MARGIN = StrategyInfo(
    name="margin",
    summary="Rows whose two most probable classes are closest.",
    paper="Scheffer, Decomain and Wrobel 2001, Active hidden Markov models for information extraction",
    run=by_score(_margin),
    score=_margin,
    inputs=("probabilities",),
    complexity="time O(NC), memory O(N + B)",
)
ENTROPY = StrategyInfo(
    name="entropy",
    summary="Rows whose class distribution has the largest entropy.",
    paper="Shannon 1948; Settles 2009, Active learning literature survey",
    run=by_score(_entropy),
    score=_entropy,
    inputs=("probabilities",),
    complexity="time O(NC), memory O(N + B)",
)
