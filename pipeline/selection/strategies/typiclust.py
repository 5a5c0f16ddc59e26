"""TypiClust: the most typical row of each of many clusters."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.points import between, full_precision
from asvp.selection.pool.pool import Pool, required
from asvp.selection.pool.spaces import EuclideanSpace
from asvp.selection.rows import Array
from asvp.selection.strategies.clusters import kmeans

_ROWS_AT_ONCE = 1024
_OTHERS_AT_ONCE = 2048


class TypiClustOptions(Options):
    """Options of typiclust."""

    clusters: int = Field(
        default=500, ge=1, description="Most clusters; fewer while labelled rows and budget are fewer."
    )
    neighbours: int = Field(
        default=20, ge=1, description="Neighbours of the same cluster that typicality averages over."
    )
    smallest: int = Field(default=5, ge=0, description="Clusters up to this size are used last.")


def typiclust(pool: Pool, budget: int, options: TypiClustOptions, rng: np.random.Generator) -> Array:
    """Picks of TypiClust (algorithm 1) with k-means on features of length one.

    Clusters are visited in turn: those with the fewest labelled rows first, then the larger ones; each gives its
    row of the highest typicality, the inverse mean distance to the nearest rows of its cluster. Small clusters, which
    the authors drop, are used when all others are exhausted.
    """
    space = EuclideanSpace(required(pool.features), pool.device, unit=True)
    member_of = kmeans(space, min(len(pool.labelled) + budget, options.clusters), rng).member_of
    sizes = np.bincount(member_of)
    covered = np.bincount(member_of[pool.labelled], minlength=len(sizes))
    order = np.lexsort((np.arange(len(sizes)), -sizes, covered, sizes <= options.smallest))
    large = [cluster for cluster in order if sizes[cluster] > options.smallest]
    small = [cluster for cluster in order if 0 < sizes[cluster] <= options.smallest]
    labelled = pool.is_labelled()
    by_cluster = np.split(np.argsort(member_of, kind="stable"), np.cumsum(sizes)[:-1])
    ranked: dict[int, list[int]] = {}
    picks: list[int] = []
    for visited in (large, small):
        waiting = visited
        while waiting and len(picks) < budget:
            for cluster in waiting[: budget - len(picks)]:
                if cluster not in ranked:
                    ranked[cluster] = _by_typicality(space, by_cluster[cluster], labelled, options.neighbours)
                if ranked[cluster]:
                    picks.append(ranked[cluster].pop(0))
            waiting = [cluster for cluster in waiting if cluster not in ranked or ranked[cluster]]
    return np.array(picks, dtype=np.int64)


def typicalities(space: EuclideanSpace, rows: Array, neighbours: int) -> Array:
    """Inverse mean distance of each row to its nearest neighbours among the rows, (n,) float64.

    At most half the other rows count as neighbours, as in the authors' code.
    """
    count = min(neighbours, max(1, len(rows) // 2), len(rows) - 1)
    if count < 1:
        return np.zeros(len(rows))
    found = []
    with full_precision():
        origin = space.points(rows[:1]).factors[0]
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            nearest = _nearest(space, rows, slice(start, start + _ROWS_AT_ONCE), count, origin)
            found.append(1 / (nearest.clamp(min=0).sqrt().mean(dim=1) + 1e-5))
    return torch.cat(found).cpu().numpy()


def _nearest(space: EuclideanSpace, rows: Array, some: slice, count: int, origin: torch.Tensor) -> torch.Tensor:
    """Squared distances of some of the rows to the `count` nearest of all but themselves, (n, count) float64.

    Rows are read in pieces, so that of a cluster of any size only two pieces and their distances are in memory.
    """
    points = space.points(rows[some])
    nearest = torch.full((len(points), 0), torch.inf, dtype=torch.float64, device=points.norms.device)
    for start in range(0, len(rows), _OTHERS_AT_ONCE):
        others = space.points(rows[start : start + _OTHERS_AT_ONCE])
        squared = between(points, others, origin)
        own = torch.arange(len(points), device=squared.device)
        here = (own + some.start >= start) & (own + some.start < start + len(others))
        squared[own[here], own[here] + some.start - start] = torch.inf
        merged = torch.cat([nearest, squared], dim=1)
        nearest = merged.topk(min(count, merged.shape[1]), dim=1, largest=False).values
    return nearest


def _by_typicality(space: EuclideanSpace, rows: Array, labelled: Array, neighbours: int) -> list[int]:
    scores = typicalities(space, rows, neighbours)
    ordered = rows[np.lexsort((rows, -scores))]
    return [int(row) for row in ordered if not labelled[row]]


TYPICLUST = StrategyInfo(
    name="typiclust",
    summary="The most typical row of each cluster without labels; made for very small budgets, needs no labels.",
    paper="Hacohen et al. 2022, Active learning on a budget: opposite strategies suit high and low budgets",
    run=typiclust,
    inputs=("features",),
    representation="raw",
    options=TypiClustOptions,
    complexity="time O(N K D) a k-means step (K clusters) and O(n² D) a cluster of n rows, memory O(N + K D)",
)
