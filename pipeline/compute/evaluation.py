"""How good a model is on the test rows: for reporting, never for a decision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
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
    correct : ndarray of shape (N,), bool
        Which test rows were predicted right.
    """

    accuracy: float
    macro_f1: float
    recall: dict[str, float]
    correct: NDArray[np.bool_] = field(compare=False, repr=False)


class Blocks(Protocol):
    """Features that are read block by block, as a `Features` is."""

    def blocks(self) -> Iterator[tuple[int, NDArray[np.floating]]]: ...


def predict(scorer: Scorer, features: Blocks) -> NDArray[np.int64]:
    """The likeliest class of each row, shape (N,), block by block."""
    return np.concatenate([scorer.probabilities(block).argmax(axis=1) for _, block in features.blocks()])


def evaluate(scorer: Scorer, features: Blocks, labels: NDArray[np.int64], classes: tuple[str, ...]) -> Evaluation:
    """Compare predictions with the labels of the test rows.

    Parameters
    ----------
    scorer : Scorer
    features : Blocks
        Features of N rows.
    labels : ndarray of shape (N,), int64
    classes : tuple of str
        Names, by class number.
    """
    predicted = predict(scorer, features)
    recall, f1 = recall_and_f1(labels, predicted, len(classes))
    return Evaluation(
        accuracy=float((predicted == labels).mean()),
        macro_f1=float(np.mean(list(f1.values()))),
        recall={classes[number]: value for number, value in recall.items()},
        correct=predicted == labels,
    )


def recall_and_f1(
    labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int
) -> tuple[dict[int, float], dict[int, float]]:
    """Recall and F1 of each class that has rows, by class number.

    Parameters
    ----------
    labels, predicted : ndarray of shape (N,), int64
        Class numbers, below `classes`.
    classes : int
    """
    counted = (labels[labels == predicted], labels, predicted)
    hits, rows, called = (np.bincount(numbers, minlength=classes) for numbers in counted)
    present = np.flatnonzero(rows).tolist()
    recall = {number: float(hits[number] / rows[number]) for number in present}
    f1 = {number: float(2 * hits[number] / (rows[number] + called[number])) for number in present}
    return recall, f1
