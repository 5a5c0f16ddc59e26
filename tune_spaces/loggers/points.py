"""What loggers are given: the numbers of a trial's rounds, each at the labels that were bought by then."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_AT_ONCE = {
    "accuracy/proxy": "proxy_accuracy",
    "indicator/logme": "logme",
    "indicator/logme_ped": "logme_ped",
    "features/version": "feature_version",
}
_OF_FINAL_MODELS = {"accuracy/final": "final_accuracy", "macro_f1/final": "final_macro_f1"}
_SPENT = {
    "cost/dollars": ("cost", "total"),
    "cost/cpu_seconds": ("device_seconds", "cpu"),
    "cost/gpu_seconds": ("device_seconds", "gpu"),
}

NAMES = (*_AT_ONCE, *_OF_FINAL_MODELS, *_SPENT)
"""Of all curves."""


@dataclass(frozen=True)
class Point:
    """A point of a curve.

    Attributes
    ----------
    name : str
        Of the curve.
    labels : int
        Bought in all: the step, so that arms with unlike rounds can be compared.
    value : float
    """

    name: str
    labels: int
    value: float

    @property
    def key(self) -> tuple[str, int]:
        """What no two points of a trial share."""
        return self.name, self.labels


def points_of(rounds: Sequence[Mapping[str, Any]], due: Collection[int]) -> Iterator[Point]:
    """The points that are settled: whatever comes later adds others, and changes none.

    A final model arrives rounds after its own, and adds what it cost to that round. So final accuracies and the sums of
    costs wait, from the first round on whose model is still being made; each curve comes in order of its labels.

    Parameters
    ----------
    rounds : sequence of mapping
        Objects of rounds.jsonl, in order.
    due : collection of int
        Label counts at which a final model is waited for.
    """
    spent = dict.fromkeys(_SPENT, 0.0)
    settled = True
    for one in rounds:
        labels = int(one["labelled"])
        settled = settled and (labels not in due or one.get("final_accuracy") is not None)
        told: dict[str, Any] = {name: one.get(key) for name, key in _AT_ONCE.items()}
        if settled:
            for name, (group, key) in _SPENT.items():
                spent[name] += (one.get(group) or {}).get(key) or 0.0
            told |= {name: one.get(key) for name, key in _OF_FINAL_MODELS.items()} | spent
        for name, value in told.items():
            if value is not None and math.isfinite(value):
                yield Point(name, labels, float(value))
