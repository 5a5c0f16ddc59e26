"""Labelled rows of features, checked once and walked class by class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asvp.arrays import plain_array
from asvp.errors import DataError

_BLOCK_VALUES = 1 << 21
"""Values in one float64 working block (16 MiB): large enough for fast products, small beside the features."""


@dataclass(frozen=True)
class LabelledFeatures:
    """N rows of D features with labels of C present classes.

    Attributes
    ----------
    features : ndarray (N, D)
        As given, any float type.
    classes : ndarray (C,) of int64
        The labels that occur, ascending.
    codes : ndarray (N,) of int64
        Each row's position in `classes`.
    counts : ndarray (C,) of int64
        Rows of each class, at least 1.
    """

    features: NDArray[Any]
    classes: NDArray[np.int64]
    codes: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def check(cls, features: NDArray[Any], labels: NDArray[Any]) -> LabelledFeatures:
        """Group rows by label.

        Raises
        ------
        DataError
            If `features` is no float matrix with at least one row and column, `labels` is not one whole number a row,
            or values are masked. Values that are not finite show up later, in sums over all rows: see `require_finite`.
        """
        features, labels = plain_array(features, "features", DataError), plain_array(labels, "labels", DataError)
        if features.ndim != 2 or not np.issubdtype(features.dtype, np.floating) or 0 in features.shape:
            raise DataError(
                "must be a float matrix with at least one row and one column",
                key="features",
                value=f"{features.dtype} {features.shape}",
                mend="Pass the features of the labelled rows as an (N, D) array",
            )
        if labels.shape != features.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"must be {len(features)} whole numbers, one a row of the features",
                key="labels",
                value=f"{labels.dtype} {labels.shape}",
                mend="Pass class numbers as an integer array of shape (N,)",
            )
        classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        return cls(features, classes.astype(np.int64), codes.astype(np.int64), counts.astype(np.int64))

    def sorted_blocks(self) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]]:
        """Rows in class order as float64 blocks: (rows, codes of the classes in the block, where each one starts)."""
        order = np.argsort(self.codes, kind="stable")
        step = max(1, _BLOCK_VALUES // self.features.shape[1])
        for first in range(0, len(order), step):
            chosen = order[first : first + step]
            codes = self.codes[chosen]
            starts = np.flatnonzero(np.diff(codes, prepend=-1))
            yield _doubles(self.features[chosen]), codes[starts], starts

    def column_blocks(self) -> Iterator[NDArray[np.float64]]:
        """All rows, some columns at a time, as float64 blocks."""
        step = max(1, _BLOCK_VALUES // len(self.features))
        for first in range(0, self.features.shape[1], step):
            yield _doubles(self.features[:, first : first + step])


def _doubles(values: NDArray[Any]) -> NDArray[np.float64]:
    # What is beyond float64 becomes infinite, which the sums tell.
    with np.errstate(over="ignore"):
        return values.astype(np.float64)


def require_finite(total: NDArray[np.float64], key: str = "features") -> None:
    """Raise DataError if a sum over all rows shows that some value is not finite."""
    if not np.isfinite(total).all():
        raise DataError(
            "hold values that are not finite, or too large to square",
            key=key,
            mend="Look for NaN or infinity in the encoder's output; float16 features overflow above 65504",
        )
