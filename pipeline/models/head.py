"""A linear classifier on features; PyTorch is imported where it computes, so that whoever passes one on needs none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Head:
    """Logits are features @ weight.T + bias.

    Parameters
    ----------
    weight : np.ndarray
        (C, D) float32.
    bias : np.ndarray
        (C,) float32.
    """

    weight: np.ndarray
    bias: np.ndarray

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return len(self.bias)

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, C) float32 of features (n, D)."""
        import torch

        from asvp.models.blocks import for_each_block

        weight, bias = torch.tensor(self.weight), torch.tensor(self.bias)
        logits = np.empty((len(features), self.classes), np.float32)

        def score(place: slice, block: torch.Tensor) -> None:
            logits[place] = torch.addmm(bias, block, weight.T).numpy()

        for_each_block(features, self.weight.shape[1], weight.device, score)
        return logits

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities (n, C) float32 of features (n, D)."""
        from asvp.models.blocks import softmax

        return softmax(self.logits(features))

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The features themselves, (n, D) float32: a head's logits are linear in them."""
        return np.asarray(features, dtype=np.float32)

    def embed_and_score(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The features (n, D) and their class probabilities (n, C), both float32."""
        return self.embed(features), self.probabilities(features)

    def last_layer(self) -> Head:
        """The head itself."""
        return self

    def state(self) -> dict[str, np.ndarray]:
        """The weights by name, for a safetensors or npz file."""
        return {"weight": self.weight, "bias": self.bias}

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray]) -> Head:
        """The head that `state` came from."""
        return cls(np.asarray(state["weight"], np.float32), np.asarray(state["bias"], np.float32))
