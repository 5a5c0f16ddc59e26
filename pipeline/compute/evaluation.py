"""How good a model is on the test rows: for reporting, never for a decision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score

from asvp.features.feature_set import Features
from asvp.models.proxy import Scorer


@dataclass(frozen=True)
class Evaluation:
    """Measured on the test rows.

    Attributes
    ----------
    accuracy : float
    macro_f1 : float
        Mean over the classes that have test rows.
    recall : dict of str to float
        Of each class that has test rows.
    """

    accuracy: float
    macro_f1: float
    recall: dict[str, float]


def predict(scorer: Scorer, features: Features) -> NDArray[np.int64]:
    """The likeliest class of each row, shape (N,), block by block."""
    return np.concatenate([scorer.probabilities(block).argmax(axis=1) for _, block in features.blocks()])


def evaluate(scorer: Scorer, features: Features, labels: NDArray[np.int64], classes: tuple[str, ...]) -> Evaluation:
    """Compare predictions with the labels of the test rows.

    Parameters
    ----------
    scorer : Scorer
    features : Features of N rows
    labels : ndarray of shape (N,), int64
    classes : tuple of str
        Names, by class number.
    """
    predicted = predict(scorer, features)
    present = np.unique(labels)
    recall = recall_score(labels, predicted, labels=present, average=None, zero_division=0)
    return Evaluation(
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(f1_score(labels, predicted, labels=present, average="macro", zero_division=0)),
        recall={classes[number]: float(value) for number, value in zip(present, recall, strict=True)},
    )
