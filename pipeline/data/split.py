"""Seeded choices of rows: a limit, and a held-out share."""

from __future__ import annotations

import numpy as np

from asvp.errors import DataError


def shuffled_prefix(count: int, limit: int | None, seed: int) -> np.ndarray:
    """The first `limit` rows of a seeded shuffle of 0..count-1, in ascending order; all where there are no more.

    A smaller limit gives a subset of a larger one's rows.
    """
    if limit is None or limit >= count:
        return np.arange(count, dtype=np.int64)
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[:limit]).astype(np.int64)


def hold_out(labels: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Hold a stratified share of rows out.

    Every class gives its share of rows, rounded so that the total is right (largest remainders first); each class keeps
    at least one row, so a class with a single row gives none.

    Parameters
    ----------
    labels : (N,) int64
        Class numbers.
    share : float
        In (0, 1).
    seed : int

    Returns
    -------
    kept, held : int64 arrays
        Row numbers, ascending, together 0..N-1.

    Raises
    ------
    DataError
        If nothing would be held out.
    """
    classes, counts = np.unique(labels, return_counts=True)
    exact = counts * share
    quota = np.minimum(np.floor(exact).astype(np.int64), counts - 1)
    remainder = np.where(quota < counts - 1, exact - quota, -1.0)
    spare = max(round(share * len(labels)) - int(quota.sum()), 0)
    ranked = np.argsort(-remainder, kind="stable")[:spare]
    quota[ranked[remainder[ranked] > 0]] += 1
    if quota.sum() == 0:
        mend = "Raise data.test_share, or give test rows in data.test"
        raise DataError(f"holds out none of {len(labels)} rows", key="data.test_share", value=share, mend=mend)
    random = np.random.default_rng([seed, 1])
    held = np.sort(
        np.concatenate(
            [
                random.permutation(np.flatnonzero(labels == number))[:rows]
                for number, rows in zip(classes, quota, strict=True)
            ]
        )
    )
    kept = np.setdiff1d(np.arange(len(labels)), held, assume_unique=True)
    return kept.astype(np.int64), held.astype(np.int64)
