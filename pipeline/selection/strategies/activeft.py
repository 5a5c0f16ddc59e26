"""ActiveFT: picks whose distribution follows that of the pool while they stay diverse."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import Field

from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.points import full_precision
from asvp.selection.pool.pool import Pool, required
from asvp.selection.pool.spaces import EuclideanSpace
from asvp.selection.rows import Array

_PAPER = "Xie, Lu, Yan, Yang, Tomizuka and Zhan 2023, Active finetuning: exploiting annotation budget"

_CENTROIDS_AT_ONCE = 1024
_PAIRS = 1 << 21
"""Similarities in memory at once."""
_SHORT = 1e-12
"""What `normalize` divides by at least."""


class ActiveFTOptions(Options):
    """Options of activeft."""

    temperature: float = Field(default=0.07, gt=0, description="Temperature of the similarities.")
    iterations: int = Field(default=100, ge=1, description="Steps of Adam.")
    lr: float = Field(default=1e-3, gt=0, description="Learning rate.")
    balance: float = Field(default=1.0, ge=0, description="Weight of the diversity of the centroids.")
    batch_size: int = Field(default=20_000, ge=1, description="Rows drawn for a step.")


def activeft(pool: Pool, budget: int, options: ActiveFTOptions, rng: np.random.Generator) -> Array:
    """Picks of ActiveFT (algorithm 1): centroids are trained on features of length one, then the nearest rows taken.

    The loss is minus the mean similarity of rows to their nearest centroid (equation 6) plus the log-sum of each
    centroid's similarities to the others (equation 7), both over the temperature. Labelled rows are fixed centroids,
    which the paper, with a single round, does without. Two centroids never take the same row.
    """
    space = EuclideanSpace(required(pool.features), pool.device, unit=True)
    rows = pool.unlabelled()
    with full_precision():
        trained = space.points(rng.permutation(rows)[:budget]).factors[0].clone()
        fixed = space.points(pool.labelled).factors[0]
        # Labelled rows do not move, so how near each row is to them is computed once.
        reached = _most_similar(space, fixed)
        optimizer = torch.optim.Adam([trained], lr=options.lr)
        for _ in range(options.iterations):
            batch = _batch(rows, options.batch_size, rng)
            trained.grad = _gradient(space, batch, trained, fixed, reached, options)
            optimizer.step()
        return _nearest_rows(space, _unit(trained), pool.is_labelled())


def _batch(rows: Array, size: int, rng: np.random.Generator) -> Array:
    return np.sort(rng.choice(rows, size=size, replace=False)) if len(rows) > size else rows


def _unit(centroids: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(centroids, dim=1)


def _most_similar(space: EuclideanSpace, fixed: torch.Tensor) -> torch.Tensor:
    """Similarity of each row to the nearest fixed centroid, (N,); -2 where there is none."""
    found = torch.full((len(space),), -2.0, device=space.device)
    with full_precision():
        for first, block in space.blocks() if len(fixed) else ():
            for centroids in torch.split(fixed, _CENTROIDS_AT_ONCE):
                held = found[first : first + len(block)]
                torch.maximum(held, (block.factors[0] @ centroids.T).amax(dim=1), out=held)
    return found


def _gradient(
    space: EuclideanSpace,
    batch: Array,
    trained: torch.Tensor,
    fixed: torch.Tensor,
    reached: torch.Tensor,
    options: ActiveFTOptions,
) -> torch.Tensor:
    """Gradient of the loss on a batch of rows by the trained centroids before they are scaled to length one, (B, D).

    Written out, since automatic differentiation would keep several (B, B + L) matrices and turn to the fixed ones too.
    """
    centroids = _unit(trained)
    gradient = _pull(space, batch, centroids, reached) / -len(batch)
    if len(centroids) + len(fixed) > 1:
        gradient += options.balance * _push(centroids, fixed, options.temperature)
    gradient /= options.temperature
    along = (gradient * centroids).sum(dim=1, keepdim=True)
    lengths: torch.Tensor = torch.linalg.vector_norm(trained, dim=1, keepdim=True)
    return (gradient - along * centroids) / lengths.clamp(min=_SHORT)


def _push(centroids: torch.Tensor, fixed: torch.Tensor, temperature: float) -> torch.Tensor:
    """Gradient of the mean log-sum of each centroid's similarities to all others, times the temperature, (B, D)."""
    everyone = torch.cat([centroids, fixed])
    gradient = torch.zeros_like(centroids)
    for piece in _pieces(len(centroids), len(everyone)):
        some = centroids[piece]
        similar = (some @ everyone.T).div_(temperature)
        similar.diagonal(piece.start).fill_(-torch.inf)
        weights = similar.softmax(dim=1)
        gradient[piece] += weights @ everyone
        gradient += weights[:, : len(centroids)].T @ some
    return gradient / len(centroids)


def _pieces(count: int, others: int) -> Iterator[slice]:
    """`count` rows in pieces whose similarities to so many others fit into memory."""
    size = max(64, _PAIRS // others)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def _pull(space: EuclideanSpace, rows: Array, centroids: torch.Tensor, reached: torch.Tensor) -> torch.Tensor:
    """For each trained centroid the sum of the rows that are nearest to it: the gradient of their similarities."""
    sums = torch.zeros_like(centroids)
    for piece in _pieces(len(rows), len(centroids)):
        chosen = rows[piece]
        block = space.points(chosen).factors[0]
        similar, nearest = (block @ centroids.T).max(dim=1)
        won = similar >= reached[torch.from_numpy(chosen).to(space.device)]
        sums.index_add_(0, nearest[won], block[won])
    return sums


def _nearest_rows(space: EuclideanSpace, centroids: torch.Tensor, taken: Array) -> Array:
    """The most similar free row of each centroid; where two want one row, the earlier centroid has it."""
    taken = taken.copy()
    picks = np.full(len(centroids), -1)
    while (picks < 0).any():
        waiting = np.flatnonzero(picks < 0)
        wanted = centroids[torch.from_numpy(waiting).to(space.device)]
        best = torch.full((len(waiting),), -torch.inf, device=space.device)
        found = torch.zeros(len(waiting), dtype=torch.int64, device=space.device)
        for first, block in space.blocks():
            similar = wanted @ block.factors[0].T
            similar[:, torch.from_numpy(taken[first : first + len(block)]).to(space.device)] = -torch.inf
            values, places = similar.max(dim=1)
            better = values > best
            best[better], found[better] = values[better], places[better] + first
        rows, first_wish = np.unique(found.cpu().numpy(), return_index=True)
        picks[waiting[first_wish]] = rows
        taken[rows] = True
    return picks


def _record(name: str, representation: str) -> StrategyInfo:
    where = "encoder's" if representation == "raw" else "proxy's hidden"
    return StrategyInfo(
        name=name,
        summary=f"Rows distributed as the pool and diverse, by trained centroids in the {where} features.",
        paper=_PAPER,
        run=activeft,
        inputs=("features",),
        representation="raw" if representation == "raw" else "proxy",
        options=ActiveFTOptions,
        complexity="time O(N L D) and O((n + B + L) B D) a step with batches of n rows, memory O(N + (B + L) D)",
    )


ACTIVEFT = _record("activeft", "raw")
ACTIVEFT_PROXY = _record("activeft_proxy", "proxy")
