"""A model's view of the pool, computed block by block and never held whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.features.feature_set import FeatureSet
from pipeline.models.scorer import Scorer

Values = NDArray[np.floating]


@dataclass(frozen=True)
class ModelRows:
    """What a model makes of the features of N rows, made as it is read.

    Attributes
    ----------
    features : FeatureSet
    model : callable
        Features of shape (n, D) to float32 values of shape (n, `dim`).
    dim : int
    """

    features: FeatureSet
    model: Callable[[Values], Values]
    dim: int

    def __len__(self) -> int:
        return len(self.features)

    def blocks(self) -> Iterator[tuple[int, Values]]:
        """Yield (first row, values of shape (n, dim))."""
        for start, block in self.features.blocks():
            yield start, self.model(block)

    def gather(self, rows: NDArray[np.integer]) -> Values:
        """Values of some rows, shape (len(rows), dim)."""
        return self.model(self.features.gather(rows))


def probability_rows(features: FeatureSet, scorer: Scorer) -> ModelRows:
    """Class probabilities of all rows, (N, C)."""
    return ModelRows(features, scorer.probabilities, scorer.classes)


def embedded_rows(features: FeatureSet, scorer: Scorer) -> ModelRows:
    """The scorer's last hidden features of all rows, (N, H)."""
    return ModelRows(features, scorer.embed, scorer.last_layer().weight.shape[1])
