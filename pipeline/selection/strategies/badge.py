"""BADGE: diverse rows of large gradients, by k-means++ seeding on factorised gradient embeddings."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.lazy import d2_sample
from asvp.selection.pool.pool import Pool
from asvp.selection.rows import Array
from asvp.selection.share_out import PartitionOptions, in_random_parts

_PAPER = (
    "Ash, Zhang, Krishnamurthy, Langford and Agarwal 2020, Deep batch active learning by diverse, uncertain gradients"
)


class BadgePartitionOptions(PartitionOptions):
    """Options of badge_partition."""

    rows: int | None = Field(default=None, ge=1, description="Use only so many random unlabelled rows; null: all.")


def badge(pool: Pool, budget: int, _: Options, rng: np.random.Generator) -> Array:
    """Picks of BADGE (algorithm 1): the row of the largest gradient first, then D² sampling among the unlabelled.

    The gradients q ⊗ h are never built: |a - b|² = |q_a|²|h_a|² + |q_b|²|h_b|² - 2 (q_a·q_b)(h_a·h_b). As in the
    authors' code the first centre is the row of the largest gradient, and labelled rows are no centres.
    """
    space = pool.gradients()
    longest = space.longest(pool.labelled)[0]
    return d2_sample(space, budget, rng, first=longest, excluded=pool.labelled)


def badge_partition(pool: Pool, budget: int, options: BadgePartitionOptions, rng: np.random.Generator) -> Array:
    """Picks of BADGE in each of several random parts, one after the other: `badge` in the wrapper `partition`."""
    return in_random_parts(badge, pool, budget, options.parts, Options(), rng, most=options.rows)


BADGE = StrategyInfo(
    name="badge",
    summary="Diverse rows of large gradients: k-means++ seeding on the last layer's gradient embeddings.",
    paper=_PAPER,
    run=badge,
    inputs=("features", "probabilities"),
    representation="proxy",
    sharded=True,
    complexity="time O(N B (C + D)) in matrix products, memory O(N + B (C + D))",
)
BADGE_PARTITION = StrategyInfo(
    name="badge_partition",
    summary="BADGE in random parts of the pool, which bounds its time for any budget.",
    paper=f"{_PAPER}; parts as in Citovsky et al. 2021, Batch active learning at scale",
    run=badge_partition,
    inputs=("features", "probabilities"),
    representation="proxy",
    options=BadgePartitionOptions,
    complexity="time O(N B (C + D) / parts), memory O(N + B (C + D))",
)
