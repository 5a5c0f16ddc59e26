"""What scores the pool: class probabilities, and the vectors they are linear in."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from asvp.models.head import Head


class Scorer(Protocol):
    """A model on top of features: a `Proxy` or a `Head`."""

    @property
    def classes(self) -> int:
        """C, the number of classes."""

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities (n, C) float32 of features (n, D); each row sums to 1."""

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The last layer's input (n, H) float32: what the logits are linear in."""

    def embed_and_score(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What `embed` and `probabilities` give, for little more than one of them costs."""

    def last_layer(self) -> Head:
        """The linear layer from what `embed` gives to logits."""
