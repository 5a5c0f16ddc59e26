"""k-means on rows read block by block, and picks that are each near one centre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from asvp.selection.geometry.lazy import d2_sample
from asvp.selection.geometry.points import Points, full_precision
from asvp.selection.pool.pool import Pool
from asvp.selection.pool.spaces import EuclideanSpace
from asvp.selection.rows import Array

_CENTRES_AT_ONCE = 1024


@dataclass(frozen=True)
class Clusters:
    """Result of `kmeans`.

    Attributes
    ----------
    centres : float32 tensor, shape (K, D)
    member_of : ndarray of int64, shape (N,)
        Cluster of each row.
    distances : ndarray of float32, shape (N,)
        Squared distance of each row to its centre.
    """

    centres: torch.Tensor
    member_of: Array
    distances: Array


def kmeans(space: EuclideanSpace, clusters: int, rng: np.random.Generator, *, iterations: int = 20) -> Clusters:
    """Lloyd's algorithm from a k-means++ start; O(N K D) a step, O(N + K D) memory.

    Parameters
    ----------
    space : EuclideanSpace
    clusters : int
        K; no more than there are rows are made.
    rng : numpy Generator
    iterations : int
        Most steps; it stops when no row changes its cluster. A cluster that runs empty keeps its centre.
    """
    clusters = min(clusters, len(space))
    start = d2_sample(space, clusters, rng, first=int(rng.integers(len(space))), excluded=np.empty(0, dtype=np.int64))
    with full_precision():
        centres = space.points(start).factors[0]
        found = _assign(space, centres)
        for _ in range(iterations):
            centres = _means(space, found.member_of, centres)
            before, found = found.member_of, _assign(space, centres)
            if np.array_equal(before, found.member_of):
                break
    return found


def representatives(pool: Pool, rows: Array, budget: int, rng: np.random.Generator) -> Array:
    """Cluster the rows named into `budget` groups and take the row nearest each centre, largest group first.

    Where groups are fewer than the budget (equal rows), the rest are the rows farthest from their centres.
    """
    if len(rows) <= budget:
        return rows
    space = EuclideanSpace(pool.some(rows), pool.device)
    found = kmeans(space, budget, rng)
    order = np.lexsort((found.distances, found.member_of))
    groups, first = np.unique(found.member_of[order], return_index=True)
    sizes = np.bincount(found.member_of, minlength=budget)[groups]
    chosen = order[first][np.lexsort((groups, -sizes))]
    rest = np.setdiff1d(order, chosen)
    rest = rest[np.lexsort((rest, -found.distances[rest]))]
    return np.asarray(rows[np.concatenate([chosen, rest])[:budget]])


def _assign(space: EuclideanSpace, centres: torch.Tensor) -> Clusters:
    norms = (centres - space.mean).square().sum(dim=1)
    member_of = np.empty(len(space), dtype=np.int64)
    distances = np.empty(len(space), dtype=np.float32)
    for first, block in space.blocks():
        best = torch.full((len(block),), -torch.inf, device=space.device)
        nearest = torch.zeros(len(block), dtype=torch.int64, device=space.device)
        for start in range(0, len(centres), _CENTRES_AT_ONCE):
            piece = slice(start, start + _CENTRES_AT_ONCE)
            values, places = space.geometry.nearness(block, Points((centres[piece],), norms[piece])).max(dim=1)
            better = values > best
            best[better], nearest[better] = values[better], places[better] + start
        rows = slice(first, first + len(block))
        member_of[rows] = nearest.cpu().numpy()
        distances[rows] = (block.norms - 2 * best).clamp(min=0).cpu().numpy()
    return Clusters(centres, member_of, distances)


def _means(space: EuclideanSpace, member_of: Array, centres: torch.Tensor) -> torch.Tensor:
    sums = torch.zeros(centres.shape, dtype=torch.float64, device=space.device)
    for first, block in space.blocks():
        members = torch.from_numpy(member_of[first : first + len(block)]).to(space.device)
        sums += torch.zeros_like(centres).index_add_(0, members, block.factors[0]).double()
    counts = torch.from_numpy(np.bincount(member_of, minlength=len(centres))).to(space.device)
    means = (sums / counts.clamp(min=1)[:, None]).float()
    return torch.where(counts[:, None] > 0, means, centres)
