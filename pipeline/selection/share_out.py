"""Picks made part by part."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from asvp.selection.contract import Options, Run
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


class PartitionOptions(Options):
    """Options of partition and badge_partition."""

    parts: int = Field(default=10, ge=1, description="Random parts of the unlabelled rows, picked from one by one.")


def in_random_parts(
    run: Run, pool: Pool, budget: int, parts: int, options: Any, rng: np.random.Generator, *, most: int | None = None
) -> Array:
    """Run a strategy in random parts of the unlabelled rows, or of `most` of them (at least the budget)."""
    rows = rng.permutation(pool.unlabelled())
    if most is not None:
        rows = rows[: max(most, budget)]
    return share_out(run, pool, rows, parts, budget, options, rng)


def pick_among(run: Run, pool: Pool, rows: Array, budget: int, options: Any, rng: np.random.Generator) -> Array:
    """Run a strategy as if `rows` were the only unlabelled ones."""
    if budget == 0:
        return np.empty(0, dtype=np.int64)
    kept = pool.kept(rows)
    return np.asarray(kept[run(pool.subset(rows), budget, options, rng)])
