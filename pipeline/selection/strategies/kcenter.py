"""Core-set selection: cover the feature space, by the farthest-first greedy of the k-center problem."""

from __future__ import annotations

import numpy as np

from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.lazy import farthest_first
from asvp.selection.pool.pool import Pool
from asvp.selection.rows import Array

_PAPER = "Sener and Savarese 2018, Active learning for convolutional neural networks: a core-set approach"


def coreset(pool: Pool, budget: int, _: Options, rng: np.random.Generator) -> Array:
    """k-center greedy (algorithm 1) with all labelled rows as first centres; the robust variant is left out.

    Where nothing is labelled, the first pick is a row drawn uniformly.
    """
    first = int(rng.integers(pool.size)) if len(pool.labelled) == 0 else None
    return farthest_first(pool.euclidean(), budget, labelled=pool.labelled, first=first)


CORESET = StrategyInfo(
    name="coreset",
    summary="Rows farthest from all labelled ones in the proxy's hidden features (k-center greedy).",
    paper=_PAPER,
    run=coreset,
    inputs=("features",),
    representation="proxy",
    sharded=True,
    complexity="time O(N L D) for the labelled rows, then well below O(N B D); memory O(N + (L + B) D)",
)
CORESET_SELF = StrategyInfo(
    name="coreset_self",
    summary="Rows farthest from all labelled ones in the encoder's features (k-center greedy); needs no labels.",
    paper=_PAPER,
    run=coreset,
    inputs=("features",),
    representation="raw",
    sharded=True,
    complexity="time O(N L D) for the labelled rows, then well below O(N B D); memory O(N + (L + B) D)",
)
