"""Wrappers: any strategy on parts of the pool, on a sample, near labelled rows, or with balanced classes."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field

from asvp.selection.contract import Options, Run, WrapperInfo
from asvp.selection.geometry.neighbours import neighbours_of
from asvp.selection.pool.pool import Block, Pool, required
from asvp.selection.rows import Array
from asvp.selection.share_out import PartitionOptions, in_random_parts, pick_among


class SubsampleOptions(Options):
    """Options of subsample."""

    rows: int = Field(default=10_000, ge=1, description="Random unlabelled rows to choose among (at least the budget).")


class NeighboursOptions(Options):
    """Options of neighbours."""

    k: int = Field(default=100, ge=1, description="Nearest neighbours of each labelled row that are candidates.")


def _partition(
    inner: Run, pool: Pool, budget: int, own: PartitionOptions, options: Any, rng: np.random.Generator
) -> Array:
    return in_random_parts(inner, pool, budget, own.parts, options, rng)


def _subsample(
    inner: Run, pool: Pool, budget: int, own: SubsampleOptions, options: Any, rng: np.random.Generator
) -> Array:
    rows = rng.permutation(pool.unlabelled())[: max(own.rows, budget)]
    return pick_among(inner, pool, rows, budget, options, rng)


def _neighbours(
    inner: Run, pool: Pool, budget: int, own: NeighboursOptions, options: Any, rng: np.random.Generator
) -> Array:
    candidates = neighbours_of(required(pool.encoder_features), pool.labelled, own.k, budget)
    return pick_among(inner, pool, candidates, budget, options, rng)


def _class_balance(inner: Run, pool: Pool, budget: int, own: Options, options: Any, rng: np.random.Generator) -> Array:
    predicted = pool.map(_predicted_classes)
    classes = required(pool.probabilities).dim
    known = predicted[pool.labelled] if pool.labels is None else pool.labels
    rows = pool.unlabelled()
    shares = balanced_shares(
        np.bincount(known, minlength=classes)[:classes], np.bincount(predicted[rows], minlength=classes), budget
    )
    by_class = [
        pick_among(inner, pool, rows[predicted[rows] == label], int(shares[label]), options, rng)
        for label in range(classes)
    ]
    turns = np.concatenate([np.arange(len(picks)) for picks in by_class])
    return np.asarray(np.concatenate(by_class)[np.argsort(turns, kind="stable")])


def _predicted_classes(block: Block) -> Array:
    return np.asarray(block.probabilities.argmax(axis=1))


def balanced_shares(held: Array, available: Array, budget: int) -> Array:
    """Picks a class, (C,), that even out held + picks as far as the available rows allow and sum to the budget."""
    shares = np.zeros_like(available)
    for _ in range(budget):
        open_classes = np.where(shares < available, held + shares, np.iinfo(np.int64).max)
        shares[int(np.argmin(open_classes))] += 1
    return shares


PARTITION = WrapperInfo(
    name="partition",
    summary="Picks from random parts of the pool, one by one, with equal shares of the budget.",
    paper="Citovsky et al. 2021, Batch active learning at scale",
    run=_partition,
    options=PartitionOptions,
    complexity="divides what grows with N·B by the number of parts",
)
SUBSAMPLE = WrapperInfo(
    name="subsample",
    summary="Picks from a random sample of the unlabelled rows.",
    paper="Sener and Savarese 2018; Ash et al. 2020, in their experiments",
    run=_subsample,
    options=SubsampleOptions,
    sharded=True,
    complexity="that of the strategy on the sample",
)
NEIGHBOURS = WrapperInfo(
    name="neighbours",
    summary="Picks among the nearest neighbours of the labelled rows (SEALS); one index a feature version.",
    paper="Coleman et al. 2022, Similarity search for efficient active learning and search of rare concepts",
    run=_neighbours,
    inputs=("raw_features",),
    options=NeighboursOptions,
    needs_labelled=True,
    complexity="index O(N sqrt(N) D) once, search O(L sqrt(N) D), then the strategy on at most L·k rows",
)
CLASS_BALANCE = WrapperInfo(
    name="class_balance",
    summary="Picks class by class, by predicted class, to even out the classes of the labelled rows.",
    paper="Balanced acquisition as in Aggarwal, Popescu and Hudelot 2020, Active learning for imbalanced datasets",
    run=_class_balance,
    inputs=("probabilities",),
    complexity="O(NC) and the strategy once a class",
)
