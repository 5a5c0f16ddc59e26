"""The proxy: a small perceptron on features that scores the pool in place of the encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch

from asvp.config import ProxyConfig
from asvp.errors import DataError
from asvp.models.blocks import for_each_block, softmax
from asvp.models.failures import find_device
from asvp.models.head import Head
from asvp.models.precision import cpu_has_bfloat16
from asvp.models.proxy.mlp import Layer, Recipe, forward, train_mlp

_STD_FLOOR = 1e-3
_SMALLEST_BFLOAT16 = 128
"""Below this width float32 products are as fast, so they keep their digits."""


@dataclass(frozen=True)
class Proxy:
    """A fitted proxy. Make one with `fit_proxy`.

    Parameters
    ----------
    mean, std : np.ndarray
        (D,) float32, what features are standardised with.
    layers : tuple of Layer
        Hidden layers, each followed by ReLU, and the linear output layer; on the device that scores.
    """

    mean: np.ndarray
    std: np.ndarray
    layers: tuple[Layer, ...]

    @property
    def classes(self) -> int:
        """C, the number of classes."""
        return len(self.layers[-1].shift)

    @property
    def device(self) -> torch.device:
        """Where the proxy scores."""
        return self.layers[-1].weight.device

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Logits (n, C) float32 of features (n, D)."""
        return self._forward(features, ("logits",))[0]

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities (n, C) float32 of features (n, D)."""
        return softmax(self.logits(features))

    def embed(self, features: np.ndarray) -> np.ndarray:
        """The last hidden layer's activations (n, H) float32; standardised features if there is no hidden layer."""
        return self._forward(features, ("hidden",))[0]

    def embed_and_score(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The last hidden layer's activations (n, H) and class probabilities (n, C), in one pass."""
        hidden, logits = self._forward(features, ("hidden", "logits"))
        return hidden, softmax(logits)

    def last_layer(self) -> Head:
        """The linear layer from what `embed` gives to logits: weight (C, H), bias (C,)."""
        last = self.layers[-1]
        return Head(last.weight.float().cpu().numpy(), last.shift.float().cpu().numpy())

    def head(self) -> Head:
        """A linear proxy as a head on raw features, the standardisation folded into its weights.

        Raises
        ------
        DataError
            If the proxy has hidden layers.
        """
        if len(self.layers) > 1:
            raise DataError("a proxy with hidden layers is no linear head", key="proxy.hidden", mend="Use hidden: []")
        weight = self.layers[0].weight.cpu().numpy().astype(np.float64) / self.std
        bias = self.layers[0].shift.cpu().numpy() - weight @ self.mean
        return Head(weight.astype(np.float32), bias.astype(np.float32))

    def state(self) -> dict[str, np.ndarray]:
        """All arrays by name, for a safetensors or npz file; nothing needs a pickle."""
        state = {"mean": self.mean, "std": self.std}
        for number, layer in enumerate(self.layers):
            for name in ("weight", "scale", "shift"):
                state[f"layers.{number}.{name}"] = getattr(layer, name).cpu().numpy()
        return state

    @classmethod
    def from_state(cls, state: Mapping[str, np.ndarray], *, device: str | torch.device = "cpu") -> Proxy:
        """The proxy that `state` came from."""
        count = sum(name.endswith(".weight") for name in state)
        layers = tuple(
            Layer(*(torch.tensor(state[f"layers.{n}.{name}"], device=device) for name in ("weight", "scale", "shift")))
            for n in range(count)
        )
        return cls(np.asarray(state["mean"]), np.asarray(state["std"]), layers)

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process its device may not be there, so it arrives on the CPU.
        return Proxy.from_state, (self.state(),)

    def _forward(self, features: np.ndarray, wanted: tuple[Literal["hidden", "logits"], ...]) -> list[np.ndarray]:
        """The outputs wanted, (n, H) or (n, C) float32, of features (n, D)."""
        mean, std = (torch.tensor(vector, device=self.device) for vector in (self.mean, self.std))
        last = self.layers[-1]
        widths = {"hidden": last.weight.shape[1], "logits": self.classes}
        outputs = [np.empty((len(features), widths[name]), np.float32) for name in wanted]

        def score(place: slice, block: torch.Tensor) -> None:
            hidden = forward(self.layers[:-1], block.sub_(mean).div_(std).T)
            for name, output in zip(wanted, outputs, strict=True):
                found = hidden if name == "hidden" else last.weight @ hidden + last.shift.unsqueeze(1)
                output[place] = found.T.cpu().numpy()

        for_each_block(features, len(self.mean), self.device, score)
        return outputs


def fit_proxy(
    features: np.ndarray,
    labels: np.ndarray,
    *,
    classes: int,
    config: ProxyConfig,
    seed: int,
    mean: np.ndarray | None = None,
    std: np.ndarray | None = None,
    device: str | torch.device = "cpu",
) -> Proxy:
    """Fit a proxy on the features of the labelled rows.

    Parameters
    ----------
    features : np.ndarray
        (N, D) float16 or float32, N >= 1.
    labels : np.ndarray
        (N,) class numbers below `classes`; classes without a row are allowed, and so is a single class.
    classes : int
        C.
    config : ProxyConfig
        Hidden widths ("auto" is D), epochs, SGD's learning rate and weight decay, batch size, class weights.
    seed : int
        Decides the first weights and the order of rows. Equal inputs give equal proxies on any number of threads.
    mean, std : np.ndarray, optional
        (D,) to standardise with, the pool's as a rule; None: those of `features`. std is floored at 1e-3.
    device : optional
        "cpu" or "cuda": where it is fitted and scores. Sent to another process it scores on the CPU there.

    Raises
    ------
    DataError
        If there is no row, shapes or class numbers do not fit, or a feature is not finite.
    ConfigError
        If there is no such device here.

    Notes
    -----
    Matrix products run in bfloat16 where the processor has it (parameters, BatchNorm and the optimiser do not); scoring
    is float32. BatchNorm's statistics are those of all labelled rows under the final weights.
    """
    _check(features, labels, classes)
    where = find_device(device)
    rows = torch.tensor(features, dtype=torch.float32)
    mean = rows.mean(0).numpy() if mean is None else np.asarray(mean, np.float32)
    std = (rows - rows.mean(0)).square_().mean(0).sqrt_().numpy() if std is None else np.asarray(std, np.float32)
    std = np.maximum(std, np.float32(_STD_FLOOR))
    rows = ((rows - torch.tensor(mean)) / torch.tensor(std)).to(where)
    widths = [rows.shape[1] if width == "auto" else width for width in config.hidden]
    layers = train_mlp(
        rows,
        torch.tensor(labels, dtype=torch.int64, device=where),
        None if config.class_weight is None else balanced_weights(labels, classes)[torch.tensor(labels)].to(where),
        widths,
        classes,
        Recipe(config.epochs, config.lr, config.weight_decay, config.batch_size),
        torch.Generator().manual_seed(seed),
        _matmul_dtype(where, min([rows.shape[1], *widths])),
    )
    return Proxy(mean, std, tuple(layers))


def balanced_weights(labels: np.ndarray, classes: int) -> torch.Tensor:
    """Weights (C,) float32 in inverse proportion to counts, 1 on average over rows; absent classes 0."""
    counts = torch.bincount(torch.tensor(labels, dtype=torch.int64), minlength=classes).float()
    return torch.where(counts > 0, len(labels) / (counts.clamp(min=1) * (counts > 0).sum()), 0)


def _matmul_dtype(device: torch.device, width: int) -> torch.dtype:
    if width < _SMALLEST_BFLOAT16:
        return torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    return torch.bfloat16 if cpu_has_bfloat16() else torch.float32


def _check(features: np.ndarray, labels: np.ndarray, classes: int) -> None:
    if features.ndim != 2 or len(features) == 0:
        raise DataError("labelled rows must be a matrix with at least one row", key="features", value=features.shape)
    if np.shape(labels) != (len(features),):
        raise DataError(f"there must be one label a row, {len(features)}", key="labels", value=np.shape(labels))
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"class numbers must lie in 0..{classes - 1}", key="labels", value=[int(labels.min()), int(labels.max())]
        )
    if not np.isfinite(features).all():
        row = int(np.flatnonzero(~np.isfinite(features).all(1))[0])
        raise DataError("holds a NaN or an infinite value", key=f"features, row {row}", mend="Check the features")
