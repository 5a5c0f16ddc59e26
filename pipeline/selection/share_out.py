"""Picks made part by part."""

from __future__ import annotations

from typing import Any

import numpy as np

from asvp.selection.contract import Run
from asvp.selection.pool.pool import Pool
from asvp.selection.rows import Array


def share_out(
    run: Run, pool: Pool, rows: Array, parts: int, budget: int, options: Any, rng: np.random.Generator
) -> Array:
    """Run a strategy in `parts` pieces of `rows` (in the order given) with equal shares of the budget.

    Every piece sees all labelled rows. Shares differ by one at most, and no piece is asked for more than it has.
    """
    pieces = np.array_split(rows, min(parts, len(rows), budget))
    shares = [len(piece) for piece in np.array_split(np.arange(budget), len(pieces))]
    return np.concatenate(
        [pick_among(run, pool, piece, share, options, rng) for piece, share in zip(pieces, shares, strict=True)]
    )


def pick_among(run: Run, pool: Pool, rows: Array, budget: int, options: Any, rng: np.random.Generator) -> Array:
    """Run a strategy as if `rows` were the only unlabelled ones."""
    if budget == 0:
        return np.empty(0, dtype=np.int64)
    kept = pool.kept(rows)
    return np.asarray(kept[run(pool.subset(rows), budget, options, rng)])
