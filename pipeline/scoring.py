"""A model's view of the pool, computed where it is read and never held whole."""

from __future__ import annotations

from pipeline.features.feature_set import FeatureSet
from pipeline.models.scorer import Scorer
from pipeline.selection import MappedRows


def probability_rows(features: FeatureSet, scorer: Scorer) -> MappedRows:
    """Class probabilities of all rows, (N, C)."""
    return MappedRows(features, scorer.probabilities, scorer.classes)


def embedded_rows(features: FeatureSet, scorer: Scorer) -> MappedRows:
    """The scorer's last hidden features of all rows, (N, H)."""
    return MappedRows(features, scorer.embed, scorer.last_layer().weight.shape[1])
