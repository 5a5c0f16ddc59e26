"""A model's view of the pool, computed block by block and never held whole."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.features.feature_set import FeatureSet
from pipeline.models.scorer import Scorer


@dataclass(frozen=True)
class ProbabilityRows:
    """Class probabilities of the pool: (N, C) float32, made as they are read."""

    features: FeatureSet
    scorer: Scorer

    def __len__(self) -> int:
        return len(self.features)

    @property
    def dim(self) -> int:
        """C."""
        return self.scorer.classes

    def blocks(self) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Yield (first row, probabilities of shape (n, C))."""
        for start, block in self.features.blocks():
            yield start, self.scorer.probabilities(block)

    def gather(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """Probabilities of some rows, shape (len(rows), C)."""
        return self.scorer.probabilities(self.features.gather(rows))


@dataclass(frozen=True)
class EmbeddedRows:
    """The proxy's hidden features of the pool: (N, H) float32, made as they are read."""

    features: FeatureSet
    scorer: Scorer

    def __len__(self) -> int:
        return len(self.features)

    @property
    def dim(self) -> int:
        """H."""
        return int(self.scorer.embed(self.features.gather([0])).shape[1])

    def blocks(self) -> Iterator[tuple[int, NDArray[np.floating]]]:
        """Yield (first row, hidden features of shape (n, H))."""
        for start, block in self.features.blocks():
            yield start, self.scorer.embed(block)

    def gather(self, rows: NDArray[np.integer]) -> NDArray[np.floating]:
        """Hidden features of some rows, shape (len(rows), H)."""
        return self.scorer.embed(self.features.gather(rows))
