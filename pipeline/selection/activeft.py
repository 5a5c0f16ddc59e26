"""ActiveFT: picks whose distribution follows that of the pool while they stay diverse."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from pipeline.selection.contract import Options, StrategyInfo
from pipeline.selection.points import full_precision
from pipeline.selection.pool import Pool, required
from pipeline.selection.rows import Array
from pipeline.selection.spaces import EuclideanSpace

_PAPER = "Xie, Lu, Yan, Yang, Tomizuka and Zhan 2023, Active finetuning: exploiting annotation budget"


_CENTROIDS_AT_ONCE = 1024


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
    trained = space.points(rng.permutation(rows)[:budget]).factors[0].clone().requires_grad_()
    fixed = space.points(pool.labelled).factors[0]
    # Labelled rows do not move, so how near each row is to them is computed once.
    reached = _most_similar(space, fixed)
    optimizer = torch.optim.Adam([trained], lr=options.lr)
    for _ in range(options.iterations):
        batch = (
            np.sort(rng.choice(rows, size=options.batch_size, replace=False))
            if len(rows) > options.batch_size
            else rows
        )
        with full_precision():
            pull = _pull(space, batch, _unit(trained), reached)
        centroids = _unit(trained)
        others = centroids @ torch.cat([centroids, fixed]).T / options.temperature
        own = torch.arange(budget, device=space.device)
        others = others.index_put((own, own), torch.tensor(-torch.inf, device=space.device))
        attraction = (pull.clone() * centroids).sum() / (len(batch) * options.temperature)
        loss = -attraction
        if others.shape[1] > 1:
            loss = loss + options.balance * torch.logsumexp(others, dim=1).mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    with full_precision():
        return _nearest_rows(space, _unit(trained.detach()), pool.is_labelled())


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


def _pull(space: EuclideanSpace, rows: Array, centroids: torch.Tensor, reached: torch.Tensor) -> torch.Tensor:
    """For each trained centroid the sum of the rows that are nearest to it: the gradient of their similarities."""
    sums = torch.zeros_like(centroids)
    for start in range(0, len(rows), 4096):
        chosen = rows[start : start + 4096]
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
        complexity="time O((n + B + L) (B + L) D) a step with batches of n rows, memory O(N + (B + L) (B + D))",
    )


ACTIVEFT = _record("activeft", "raw")
ACTIVEFT_PROXY = _record("activeft_proxy", "proxy")
