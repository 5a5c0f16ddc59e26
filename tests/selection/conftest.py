"""Small pools with every input a strategy may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest


@dataclass(frozen=True)
class LinearHead:
    """A linear layer that serves as head and as scorer."""

    weight: np.ndarray
    bias: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        logits = features.astype(np.float64) @ self.weight.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def make_inputs(features: np.ndarray, classes: int, labelled: np.ndarray, seed: int = 0) -> dict[str, Any]:
    """All inputs of `select` for given features, from a random linear model."""
    rng = np.random.default_rng(seed)
    head = LinearHead(rng.normal(size=(classes, features.shape[1])), rng.normal(size=classes) * 0.1)
    probabilities = head.probabilities(features)
    members = [
        LinearHead(head.weight + 0.3 * rng.normal(size=head.weight.shape), head.bias).probabilities(features)
        for _ in range(3)
    ]
    return {
        "features": features,
        "raw_features": features,
        "probabilities": probabilities,
        "members": members,
        "labels": probabilities.argmax(axis=1)[labelled].astype(np.int64),
        "labelled": labelled,
        "head": head,
        "scorer": head,
    }


@pytest.fixture
def pool_inputs():
    """The function that makes all inputs of `select`."""
    return make_inputs
