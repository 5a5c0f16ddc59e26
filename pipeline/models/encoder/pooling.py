"""How one feature is made of a model's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from asvp.errors import EncoderError

Pooling = Literal["mean", "cls", "pooler"]


@dataclass(frozen=True)
class Pool:
    """Turns model outputs into features.

    Parameters
    ----------
    pooling : {"mean", "cls", "pooler"}
        Mean of the row's tokens (or of an image's patches, or of a feature map), the first token, or the model's own
        pooled output.
    prefix_tokens : int
        Tokens before the patches of an image (class and register tokens), left out of the mean.
    has_class_token : bool
        Whether the first token stands for the whole row.
    """

    pooling: Pooling
    prefix_tokens: int = 0
    has_class_token: bool = True

    def __call__(self, outputs: Any, mask: Tensor | None) -> Tensor:
        """Features (N, D) float32 of `outputs`; `mask` (N, T) marks a text's real tokens."""
        if self.pooling == "pooler":
            pooled = getattr(outputs, "pooler_output", None)
            if not isinstance(pooled, Tensor):
                raise _unsuitable("pooler", "this model has no pooled output", "mean")
            return pooled.flatten(1).float()
        hidden = getattr(outputs, "last_hidden_state", None)
        if not isinstance(hidden, Tensor) or hidden.ndim not in (3, 4):
            instead = "pooler" if isinstance(getattr(outputs, "pooler_output", None), Tensor) else None
            raise _unsuitable(self.pooling, "this model gives no hidden states of tokens or places", instead)
        if hidden.ndim == 4:
            if self.pooling == "cls":
                raise _unsuitable("cls", "a convolutional model has no class token", "pooler")
            return hidden.float().mean((2, 3))
        if self.pooling == "cls":
            if not self.has_class_token:
                raise _unsuitable("cls", "this model has no class token", "mean")
            return hidden[:, 0].float()
        if mask is None:
            return hidden[:, self.prefix_tokens :].float().mean(1)
        weights = mask.to(torch.float32).unsqueeze(2)
        return (hidden.float() * weights).sum(1) / weights.sum(1).clamp(min=1)


def _unsuitable(pooling: str, reason: str, instead: str | None) -> EncoderError:
    if instead is None:
        return EncoderError(reason, key="encoder.model", mend="Choose another model: this one is no encoder of rows")
    return EncoderError(reason, key="encoder.pooling", value=pooling, mend=f"Use {instead}")
