"""Cluster-Margin: rows of small margin, spread over clusters."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.points import Points, between
from asvp.selection.pool.pool import Pool
from asvp.selection.pool.spaces import EuclideanSpace
from asvp.selection.rows import Array
from asvp.selection.strategies.clusters import kmeans
from asvp.selection.strategies.scores import MARGIN

_LINKED_AT_MOST = 2048


class ClusterMarginOptions(Options):
    """Options of cluster_margin."""

    candidates: float = Field(default=10.0, ge=1, description="Rows of the smallest margin to cluster, in budgets.")
    clusters: int | None = Field(default=None, ge=1, description="Clusters made of them; null: as many as the budget.")


def cluster_margin(pool: Pool, budget: int, options: ClusterMarginOptions, rng: np.random.Generator) -> Array:
    """Picks of Cluster-Margin (algorithm 2): random rows of each cluster in turn, small clusters first.

    The authors cluster the whole pool once by average linkage with a distance threshold; here only the candidates are
    clustered, into a given number of clusters, and candidates beyond 2,048 are first joined by k-means, which keeps
    the memory of the linkage bounded.
    """
    count = min(int(options.candidates * budget), pool.size - len(pool.labelled))
    rows = np.sort(MARGIN.run(pool, count, Options(), rng))
    space = EuclideanSpace(pool.some(rows), pool.device)
    member_of = _average_linkage(space, min(options.clusters or budget, len(rows)), rng)
    sizes = np.bincount(member_of)
    waiting = [
        list(rng.permutation(rows[member_of == cluster]))
        for cluster in np.lexsort((np.arange(len(sizes)), sizes))
        if sizes[cluster]
    ]
    picks: list[int] = []
    while len(picks) < budget:
        picks += [int(members.pop()) for members in waiting[: budget - len(picks)]]
        waiting = [members for members in waiting if members]
    return np.array(picks, dtype=np.int64)


def _average_linkage(space: EuclideanSpace, clusters: int, rng: np.random.Generator) -> Array:
    """Cluster numbers from 0 of all rows of the space."""
    if len(space) <= max(1, clusters):
        return np.arange(len(space))
    if len(space) > _LINKED_AT_MOST:
        joined = kmeans(space, max(_LINKED_AT_MOST, clusters), rng, iterations=3)
        if clusters >= _LINKED_AT_MOST:
            return joined.member_of
        norms = torch.zeros(len(joined.centres), device=space.device)
        points, group = Points((joined.centres,), norms), joined.member_of
    else:
        points, group = space.points(np.arange(len(space))), np.arange(len(space))
    # Seldom needed, and slow to import.
    from scipy.cluster.hierarchy import fcluster, linkage

    tree = linkage(_pair_distances(points), method="average")
    return np.asarray(fcluster(tree, clusters, criterion="maxclust")[group] - 1, dtype=np.int64)


def _pair_distances(points: Points) -> Array:
    """Distances of all pairs i < j in row order, n (n - 1) / 2 numbers, as scipy wants them."""
    count, pieces = len(points), []
    for start in range(0, count, 256):
        apart = between(points[start : start + 256], points).clamp(min=0).sqrt().cpu().numpy()
        pieces += [row[start + place + 1 :] for place, row in enumerate(apart)]
    return np.concatenate(pieces)


CLUSTER_MARGIN = StrategyInfo(
    name="cluster_margin",
    summary="Rows of small margin taken from clusters in turn, the smallest clusters first.",
    paper="Citovsky et al. 2021, Batch active learning at scale",
    run=cluster_margin,
    inputs=("features", "probabilities"),
    representation="proxy",
    options=ClusterMarginOptions,
    sharded=True,
    complexity="time O(NC + m² D) for m candidates (at most 2,048 are linked), memory O(N + m²)",
)
