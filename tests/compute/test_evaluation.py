"""Recall and F1 are those of scikit-learn."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, recall_score

from asvp.compute.evaluation import evaluate, recall_and_f1
from asvp.features.feature_set import FeatureSet, HeldShard
from asvp.features.moments import Moments
from asvp.features.table import feature_table


@given(st.integers(1, 6).flatmap(lambda c: st.lists(st.tuples(*[st.integers(0, c - 1)] * 2), min_size=1, max_size=60)))
def test_recall_and_f1_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    labels, predicted = np.array(pairs, dtype=np.int64).T
    recall, f1 = recall_and_f1(labels, predicted, 6)
    present = np.unique(labels)
    assert list(recall) == list(f1) == present.tolist()
    asked = {"labels": present, "average": None, "zero_division": 0}
    assert list(recall.values()) == recall_score(labels, predicted, **asked).tolist()
    assert list(f1.values()) == f1_score(labels, predicted, **asked).tolist()


class Oracle:
    """Reads the class off the feature."""

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        return features


def test_classes_without_test_rows_count_in_no_mean() -> None:
    predicted, labels = np.array([0, 0, 2, 1]), np.array([0, 2, 2, 0])
    array = np.eye(3, dtype=np.float32)[predicted]
    features = FeatureSet(
        0, (HeldShard(feature_table(array, 0, "float32")),), (0, 4), 3, "float32", "x", Moments.of(array)
    )
    told = evaluate(Oracle(), features, labels, ("a", "b", "c"))  # type: ignore[arg-type]
    assert told.accuracy == 0.5
    assert told.recall == {"a": 0.5, "c": 0.5}
    assert told.macro_f1 == f1_score(labels, predicted, labels=[0, 2], average="macro")
