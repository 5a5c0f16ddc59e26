"""A model's view of the pool, computed where it is read and never held whole."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from asvp.models.proxy import Scorer
from asvp.selection import FeatureRows, MappedRows
from asvp.selection.rows import Array


def probability_rows(features: FeatureRows, scorer: Scorer) -> MappedRows:
    """Class probabilities of all rows, (N, C)."""
    return MappedRows(features, scorer.probabilities, scorer.classes)


class ScoredRows:
    """Last hidden features and class probabilities of all rows, as two views that share one pass of the model.

    Strategies read both of the same rows, one after the other; what was computed last is kept for that.

    Parameters
    ----------
    features : FeatureRows
    scorer : Scorer

    """

    def __init__(self, features: FeatureRows, scorer: Scorer) -> None:
        self._features = features
        self._scorer = scorer
        self._asked: Array | tuple[int, int] | None = None
        self._found: tuple[Array, Array] = (np.empty((0, 0)), np.empty((0, 0)))

    # Views are made when asked for: kept here, they and this would hold each other, and with them a feature version.
    @property
    def hidden(self) -> FeatureRows:
        """Last hidden features, (N, H)."""
        return _View(self, 0, self._scorer.last_layer().weight.shape[1])

    @property
    def probabilities(self) -> FeatureRows:
        """Class probabilities, (N, C)."""
        return _View(self, 1, self._scorer.classes)

    def __len__(self) -> int:
        return len(self._features)

    def span(self, start: int, stop: int) -> tuple[Array, Array]:
        """Both of rows `start` up to `stop`."""
        return self._once((start, stop), lambda: self._features.span(start, stop))

    def gather(self, rows: Array) -> tuple[Array, Array]:
        """Both of the rows named."""
        return self._once(rows, lambda: self._features.gather(rows))

    def _once(self, asked: Array | tuple[int, int], read: Callable[[], Array]) -> tuple[Array, Array]:
        if type(asked) is not type(self._asked) or not np.array_equal(asked, self._asked):
            self._found = self._scorer.embed_and_score(read())
            self._asked = asked
        return self._found


class _View:
    """One of the two, as FeatureRows."""

    def __init__(self, scored: ScoredRows, which: int, dim: int) -> None:
        self._dim = dim
        self._scored = scored
        self._which = which

    def __len__(self) -> int:
        return len(self._scored)

    @property
    def dim(self) -> int:
        return self._dim

    def span(self, start: int, stop: int) -> Array:
        return self._scored.span(start, stop)[self._which]

    def gather(self, rows: Array) -> Array:
        # A copy, since the caller may change it.
        return self._scored.gather(rows)[self._which].copy()
