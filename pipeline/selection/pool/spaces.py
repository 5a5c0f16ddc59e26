"""Spaces of rows read in this process: the features themselves, and the gradients of BADGE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from asvp.selection.geometry.bounds import HeldBounds
from asvp.selection.geometry.points import Euclidean, OuterProducts, Points, squared_lengths, to_device
from asvp.selection.rows import Array, FeatureRows, even_blocks


class EuclideanSpace:
    """Rows as they are.

    Parameters
    ----------
    features : FeatureRows
        (N, D), any float dtype; blocks are read as float32.
    device : str
        Torch device.
    unit : bool
        Scale every row to length one (rows of zeros stay).
    mean : float32 tensor, shape (D,), optional
        What norms are taken relative to; None: the mean of these rows.
    """

    def __init__(
        self, features: FeatureRows, device: str = "cpu", *, unit: bool = False, mean: torch.Tensor | None = None
    ) -> None:
        self._features = features
        self._unit = unit
        self.device = torch.device(device)
        self.mean = mean_of(block_sums(features, device, unit=unit), len(features)) if mean is None else mean
        self._norms = self._squared_norms()
        self.geometry = Euclidean(self.mean, float(self._norms.max()))

    def __len__(self) -> int:
        return len(self._features)

    @property
    def dim(self) -> int:
        """Numbers in a row, D."""
        return self._features.dim

    def blocks(self) -> Iterator[tuple[int, Points]]:
        """(first row, rows) in pieces of `BLOCK_ROWS`."""
        for first, block in _tensors(self._features, self.device, unit=self._unit):
            yield first, Points((block,), self._norms[first : first + len(block)])

    def points(self, rows: Array) -> Points:
        """The rows named."""
        values = _scaled(to_device(self._features.gather(rows), self.device), unit=self._unit)
        return Points((values,), self._norms[torch.from_numpy(rows).to(self.device)])

    def bounds(self, excluded: Array) -> HeldBounds:
        """Infinite bounds of all rows but those excluded."""
        return HeldBounds(self, excluded)

    def _squared_norms(self) -> torch.Tensor:
        norms = torch.empty(len(self), dtype=torch.float32, device=self.device)
        for first, block in _tensors(self._features, self.device, unit=self._unit):
            norms[first : first + len(block)] = squared_lengths(block - self.mean)
        return norms


class GradientSpace:
    """Rows as the gradients of the last layer's weights at the predicted class: q ⊗ h, q = onehot(argmax p) - p.

    Ash et al. 2020, "Deep batch active learning by diverse, uncertain gradient lower bounds", section 3.

    Parameters
    ----------
    features : FeatureRows
        (N, D) inputs h of the last layer.
    probabilities : FeatureRows
        (N, C) class probabilities p.
    device : str
        Torch device.
    """

    def __init__(self, features: FeatureRows, probabilities: FeatureRows, device: str = "cpu") -> None:
        self._features = features
        self._probabilities = probabilities
        self.device = torch.device(device)
        self._norms = torch.empty(len(features), dtype=torch.float32, device=self.device)
        for first, factors in self._factors():
            lengths = [squared_lengths(factor) for factor in factors]
            self._norms[first : first + len(lengths[0])] = lengths[0] * lengths[1]
        self.geometry = OuterProducts(float(self._norms.max()))

    def __len__(self) -> int:
        return len(self._features)

    def blocks(self) -> Iterator[tuple[int, Points]]:
        """(first row, rows) in pieces of `BLOCK_ROWS`."""
        for first, factors in self._factors():
            yield first, Points(factors, self._norms[first : first + len(factors[0])])

    def points(self, rows: Array) -> Points:
        """The rows named."""
        errors = _prediction_errors(to_device(self._probabilities.gather(rows), self.device))
        features = to_device(self._features.gather(rows), self.device)
        return Points((errors, features), self._norms[torch.from_numpy(rows).to(self.device)])

    def bounds(self, excluded: Array) -> HeldBounds:
        """Infinite bounds of all rows but those excluded."""
        return HeldBounds(self, excluded)

    def longest(self, excluded: Array) -> tuple[int, float]:
        """The row of the largest gradient but those excluded, the first of equals, and its squared norm (or -1)."""
        norms = self._norms.cpu().numpy().copy()
        norms[excluded] = -1.0
        row = int(np.argmax(norms))
        return row, float(norms[row])

    def _factors(self) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
        both = zip(even_blocks(self._probabilities), even_blocks(self._features), strict=True)
        for (first, probabilities), (_, features) in both:
            errors = _prediction_errors(to_device(probabilities, self.device))
            yield first, (errors, to_device(features, self.device))


def block_sums(features: FeatureRows, device: str, *, unit: bool) -> Iterator[torch.Tensor]:
    """Sum of the rows of each block, (D,) float32, in the Euclidean space of these features."""
    for _, block in _tensors(features, torch.device(device), unit=unit):
        yield block.sum(dim=0, dtype=torch.float32)


def mean_of(sums: Iterable[torch.Tensor], rows: int) -> torch.Tensor:
    """Mean row, (D,) float32, from the sums of all blocks, added in their order in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for block in sums:
        total = total.to(block.device) + block.double()
    return (total / rows).float()


def _tensors(features: FeatureRows, device: torch.device, *, unit: bool) -> Iterator[tuple[int, torch.Tensor]]:
    for first, block in even_blocks(features):
        yield first, _scaled(to_device(block, device), unit=unit)


def _scaled(block: torch.Tensor, *, unit: bool) -> torch.Tensor:
    return torch.nn.functional.normalize(block, dim=1) if unit else block


def _prediction_errors(probabilities: torch.Tensor) -> torch.Tensor:
    errors = -probabilities
    errors[torch.arange(len(errors), device=errors.device), probabilities.argmax(dim=1)] += 1
    return errors
