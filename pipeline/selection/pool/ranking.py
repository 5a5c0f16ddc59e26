"""The best rows of a pool by a score a row: a map over blocks, and a merge that does not depend on the blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

import numpy as np

from asvp.selection.rows import Array

Best = tuple[Array, Array]
"""Row numbers and their scores, best first."""


class Numbered(Protocol):
    """A block of rows that knows its place here (`start`) and in the whole pool (`first`)."""

    @property
    def first(self) -> int: ...

    @property
    def start(self) -> int: ...

    def __len__(self) -> int: ...


AnyBlock = TypeVar("AnyBlock", bound=Numbered)


def best_rows(blocks: Iterable[AnyBlock], score: Callable[[AnyBlock], Array], excluded: Array, count: int) -> Best:
    """The `count` best rows of some blocks, best first, ties by row number.

    Parameters
    ----------
    blocks : iterable of blocks
    score : callable
        A block to (n,) numbers, highest first.
    excluded : ndarray of bool, shape (N,)
        Rows here that may not be picked.
    count : int

    Returns
    -------
    rows, scores : ndarray
        Numbers in the whole pool.
    """
    best: Best = (np.empty(0, dtype=np.int64), np.empty(0))
    rivals, waiting, least = list[Best](), 0, -np.inf
    for block in blocks:
        scores = np.asarray(score(block), dtype=np.float64)
        free = ~excluded[block.start : block.start + len(block)]
        chosen = np.flatnonzero(free & ~(scores < least))
        rivals.append(_best(chosen + block.first, scores[chosen], count))
        waiting += len(chosen)
        # Sorting the best anew for every block would cost more than the scores do.
        if waiting >= count:
            best, rivals, waiting = merge_best([best, *rivals], count), [], 0
            least = best[1][-1]
    return merge_best([best, *rivals], count)


def merge_best(parts: Iterable[Best], budget: int) -> Best:
    """The `budget` best rows of several such lists; the same whatever the parts."""
    listed = list(parts)
    return _best(np.concatenate([rows for rows, _ in listed]), np.concatenate([scores for _, scores in listed]), budget)


def _best(rows: Array, scores: Array, budget: int) -> Best:
    if len(rows) > 4 * budget:
        # Everything tied with the last place stays in, so that ties are settled by the sort below.
        least = np.partition(scores, len(scores) - budget)[len(scores) - budget]
        rows, scores = rows[scores >= least], scores[scores >= least]
    order = np.lexsort((rows, -scores))[:budget]
    return rows[order], scores[order]
