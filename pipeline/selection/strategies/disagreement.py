"""Strategies by disagreement: of several models, of dropout passes, and under mixing with labelled features."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.points import full_precision, to_device
from asvp.selection.pool.pool import Block, Pool, required
from asvp.selection.rows import Array
from asvp.selection.strategies.clusters import representatives
from asvp.selection.strategies.scores import by_score, entropies


def _mutual_information(block: Block) -> Array:
    members = [member.astype(np.float64) for member in block.members]
    mean = np.mean(members, axis=0)
    return np.asarray(entropies(mean) - np.mean([entropies(member) for member in members], axis=0))


BALD = StrategyInfo(
    name="bald",
    summary="Rows on which several models disagree: mutual information of prediction and model.",
    paper="Houlsby, Huszár, Ghahramani and Lengyel 2011; with dropout: Gal, Islam and Ghahramani 2017",
    run=by_score(_mutual_information),
    score=_mutual_information,
    inputs=("members",),
    sharded=True,
    complexity="time O(M N C) for M members, memory O(N + B)",
)


class DropQueryOptions(Options):
    """Options of drop_query."""

    passes: int = Field(default=3, ge=1, description="Dropout passes.")
    rate: float = Field(default=0.75, gt=0, lt=1, description="Share of the features set to zero in a pass.")


def drop_query(pool: Pool, budget: int, options: DropQueryOptions, rng: np.random.Generator) -> Array:
    """Picks of DropQuery: rows whose class changes in more than half the dropout passes, one for each cluster.

    Dropout acts on the features themselves. With fewer such rows than the budget, the rest is drawn from the others,
    those that changed more often first.
    """
    if pool.scorer is None:
        raise ValueError("drop_query needs a scorer")
    scorer, key = pool.scorer, int(rng.integers(2**63))

    def count_changes(block: Block) -> Array:
        # Every block draws for itself, so that blocks can be looked at anywhere and in any order.
        own = np.random.default_rng([key, block.first])
        values = block.features.astype(np.float32)
        predicted = scorer.probabilities(values).argmax(axis=1)
        changes = np.zeros(len(values), dtype=np.int64)
        for _ in range(options.passes):
            kept = own.random(values.shape, dtype=np.float32) >= options.rate
            dropped = values * kept / np.float32(1 - options.rate)
            changes += scorer.probabilities(dropped).argmax(axis=1) != predicted
        return changes

    changes = pool.map(count_changes)
    return _spread(pool, changes > options.passes / 2, changes, budget, rng)


DROP_QUERY = StrategyInfo(
    name="drop_query",
    summary="Rows whose predicted class changes when most features are dropped, spread over clusters.",
    paper="Gupte et al. 2024, Revisiting active learning in the era of vision foundation models",
    run=drop_query,
    inputs=("features", "scorer"),
    representation="raw",
    options=DropQueryOptions,
    sharded=True,
    complexity="time of M + 1 predictions of the pool and O(n B D) a k-means step over n rows, memory O(N + (n + B) D)",
)


class AlfaMixOptions(Options):
    """Options of alfa_mix."""

    epsilon: float = Field(
        default=0.2, gt=0, description="Length of a mixing step, as a share of the features' distance over sqrt(D)."
    )


def alfa_mix(pool: Pool, budget: int, options: AlfaMixOptions, rng: np.random.Generator) -> Array:
    """Picks of ALFA-Mix (algorithm 1): rows whose class changes when mixed a little with a class's labelled mean.

    The mixing ratio is the closed form of equation 5, a ratio a feature, along the gradient of the loss of the
    predicted class, clipped to [1e-8, epsilon / sqrt(D)]. Rows that change are clustered and the nearest to each
    centre is picked; where they are fewer than the budget, the rest is drawn uniformly, as in the authors' code.
    """
    if pool.head is None or pool.labels is None:
        raise ValueError("alfa_mix needs a head and labels")
    features = required(pool.features)
    device = torch.device(pool.device)
    weight, bias = (to_device(np.asarray(part), device) for part in (pool.head.weight, pool.head.bias))
    labelled = to_device(features.gather(pool.labelled), device)
    anchors = [labelled[torch.from_numpy(pool.labels == label)].mean(dim=0) for label in np.unique(pool.labels)]
    limit = options.epsilon / features.dim**0.5

    def change(block: Block) -> Array:
        with full_precision():
            found = _changes(to_device(block.features, device), anchors, weight, bias, limit)
            return np.asarray(found.cpu().numpy())

    return _spread(pool, pool.map(change), np.zeros(pool.size), budget, rng)


def _changes(
    block: torch.Tensor, anchors: list[torch.Tensor], weight: torch.Tensor, bias: torch.Tensor, limit: float
) -> torch.Tensor:
    """Whether mixing with any anchor changes a row's class, (n,)."""
    logits = torch.addmm(bias, block, weight.T)
    predicted = logits.argmax(dim=1)
    errors = torch.softmax(logits, dim=1)
    errors[torch.arange(len(block), device=block.device), predicted] -= 1
    gradient = errors @ weight
    gradient /= gradient.norm(dim=1, keepdim=True).clamp(min=1e-12)
    changed = torch.zeros(len(block), dtype=torch.bool, device=block.device)
    for anchor in anchors:
        towards = anchor - block
        ratio = limit * towards.norm(dim=1, keepdim=True) * gradient / towards
        ratio = ratio.nan_to_num(nan=limit, posinf=limit, neginf=0.0).clamp(1e-8, limit)
        mixed = torch.addmm(bias, block + ratio * towards, weight.T)
        changed |= mixed.argmax(dim=1) != predicted
    return changed


ALFA_MIX = StrategyInfo(
    name="alfa_mix",
    summary="Rows whose class changes when their features are mixed a little with labelled ones, spread over clusters.",
    paper="Parvaneh, Abbasnejad, Teney, Haffari, van den Hengel and Shi 2022, Active learning by feature mixing",
    run=alfa_mix,
    inputs=("features", "labels", "head"),
    representation="proxy",
    options=AlfaMixOptions,
    needs_labelled=True,
    sharded=True,
    complexity="time O(N C² D) and O(n B D) a k-means step over n rows, memory O(N + (n + B) D)",
)


def _spread(pool: Pool, wanted: Array, ranks: Array, budget: int, rng: np.random.Generator) -> Array:
    """Representatives of the wanted unlabelled rows; then, if they are too few, the others of the highest rank."""
    rows = pool.unlabelled()
    candidates, others = rows[wanted[rows]], rng.permutation(rows[~wanted[rows]])
    picks = representatives(pool, candidates, min(budget, len(candidates)), rng) if len(candidates) else candidates
    fill = others[np.argsort(-ranks[others], kind="stable")][: budget - len(picks)]
    return np.concatenate([picks, fill]).astype(np.int64)
