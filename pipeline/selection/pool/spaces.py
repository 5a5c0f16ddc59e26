"""Spaces of rows read in this process: the features themselves, and the gradients of BADGE."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch

from asvp.selection.geometry.bounds import HeldBounds
from asvp.selection.geometry.points import Euclidean, OuterProducts, Points, squared_lengths, to_device
from asvp.selection.rows import Array, FeatureRows, even_blocks

_TINY = 1e-9
"""Features none of whose numbers is larger are scaled: float32 holds what their squares differ by no more."""

_SHORT = 1e-12
"""Length below which torch does not scale a row to length one."""


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
        What norms are taken relative to; None: the mean of these rows, which are scaled first where their squares would
        underflow.
    exponent : int
        Rows are divided by two to this power.
    """

    def __init__(
        self,
        features: FeatureRows,
        device: str = "cpu",
        *,
        unit: bool = False,
        mean: torch.Tensor | None = None,
        exponent: int = 0,
    ) -> None:
        self._features = features
        self._unit = unit
        self._exponent = exponent
        self.device = torch.device(device)
        self._measure(mean)
        if mean is None and not unit and is_tiny(self.geometry.largest):
            self._exponent = scale_of(largest_number(features))
            if self._exponent:
                self._measure(None)

    def __len__(self) -> int:
        return len(self._features)

    @property
    def dim(self) -> int:
        """Numbers in a row, D."""
        return self._features.dim

    def blocks(self) -> Iterator[tuple[int, Points]]:
        """(first row, rows) in pieces of `BLOCK_ROWS`."""
        for first, block in self._tensors():
            yield first, Points((block,), self._norms[first : first + len(block)])

    def points(self, rows: Array) -> Points:
        """The rows named."""
        block = _divided(self._features.gather(rows), self._exponent)
        values = _of_length_one(block, self.device) if self._unit else to_device(block, self.device)
        return Points((values,), self._norms[torch.from_numpy(rows).to(self.device)])

    def bounds(self, excluded: Array) -> HeldBounds:
        """Infinite bounds of all rows but those excluded."""
        return HeldBounds(self, excluded)

    def _measure(self, mean: torch.Tensor | None) -> None:
        sums = (block.sum(dim=0, dtype=torch.float32) for _, block in self._tensors())
        self.mean = mean_of(sums, len(self)) if mean is None else mean
        self._norms = torch.empty(len(self), dtype=torch.float32, device=self.device)
        for first, block in self._tensors():
            self._norms[first : first + len(block)] = squared_lengths(block - self.mean)
        self.geometry = Euclidean(self.mean, float(self._norms.max()))

    def _tensors(self) -> Iterator[tuple[int, torch.Tensor]]:
        return _tensors(self._features, self.device, unit=self._unit, exponent=self._exponent)


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
    exponent : int, optional
        Features are divided by two to this power; None: to one that keeps their squares from underflow.
    """

    def __init__(
        self, features: FeatureRows, probabilities: FeatureRows, device: str = "cpu", *, exponent: int | None = None
    ) -> None:
        self._features = features
        self._probabilities = probabilities
        self._exponent = exponent or 0
        self.device = torch.device(device)
        self._measure()
        if exponent is None and is_tiny(self.geometry.largest):
            self._exponent = scale_of(largest_number(features))
            if self._exponent:
                self._measure()

    def __len__(self) -> int:
        return len(self._features)

    def blocks(self) -> Iterator[tuple[int, Points]]:
        """(first row, rows) in pieces of `BLOCK_ROWS`."""
        for first, factors in self._factors():
            yield first, Points(factors, self._norms[first : first + len(factors[0])])

    def points(self, rows: Array) -> Points:
        """The rows named."""
        errors = _prediction_errors(to_device(self._probabilities.gather(rows), self.device))
        features = to_device(_divided(self._features.gather(rows), self._exponent), self.device)
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

    def _measure(self) -> None:
        self._norms = torch.empty(len(self), dtype=torch.float32, device=self.device)
        for first, factors in self._factors():
            lengths = [squared_lengths(factor) for factor in factors]
            self._norms[first : first + len(lengths[0])] = lengths[0] * lengths[1]
        self.geometry = OuterProducts(float(self._norms.max()))

    def _factors(self) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
        both = zip(even_blocks(self._probabilities), even_blocks(self._features), strict=True)
        for (first, probabilities), (_, features) in both:
            errors = _prediction_errors(to_device(probabilities, self.device))
            yield first, (errors, to_device(_divided(features, self._exponent), self.device))


def block_sums(features: FeatureRows, device: str, *, exponent: int = 0) -> Iterator[torch.Tensor]:
    """Sum of the rows of each block, (D,) float32, in the Euclidean space of these features."""
    for _, block in _tensors(features, torch.device(device), unit=False, exponent=exponent):
        yield block.sum(dim=0, dtype=torch.float32)


def is_tiny(largest: float) -> bool:
    """Whether squared norms so small, or zero, may be those of features whose squares underflow in float32."""
    return largest < _TINY**2


def scale_of(largest: float) -> int:
    """The power of two to divide features by, the largest number of which is this: 0 unless they are tiny."""
    return int(np.frexp(largest)[1]) if 0 < largest < _TINY else 0


def largest_number(features: FeatureRows) -> float:
    """Of all rows, in magnitude."""
    blocks = (block for _, block in even_blocks(features))
    return max(max(float(block.max()), -float(block.min())) for block in blocks)


def mean_of(sums: Iterable[torch.Tensor], rows: int) -> torch.Tensor:
    """Mean row, (D,) float32, from the sums of all blocks, added in their order in float64."""
    total = torch.zeros((), dtype=torch.float64)
    for block in sums:
        total = total.to(block.device) + block.double()
    return (total / rows).float()


def _tensors(
    features: FeatureRows, device: torch.device, *, unit: bool, exponent: int
) -> Iterator[tuple[int, torch.Tensor]]:
    for first, block in even_blocks(features):
        divided = _divided(block, exponent)
        yield first, _of_length_one(divided, device) if unit else to_device(divided, device)


def _divided(block: Array, exponent: int) -> Array:
    """Exactly the same numbers at another scale, before they become float32."""
    return np.ldexp(block, -exponent) if exponent else block


def _of_length_one(block: Array, device: torch.device) -> torch.Tensor:
    """Rows scaled to length one; rows of zeros stay. Those that are tiny are brought to a common size first."""
    values = to_device(block, device)
    short = (torch.linalg.vector_norm(values, dim=1) < _SHORT).cpu().numpy()
    if short.any():
        rows = block[short]
        largest = np.maximum(rows.max(axis=1), -rows.min(axis=1))
        raised = to_device(np.ldexp(rows, -np.frexp(largest)[1][:, None]), device)
        values = values.clone()
        values[torch.from_numpy(np.flatnonzero(short)).to(device)] = raised
    return torch.nn.functional.normalize(values, dim=1)


def _prediction_errors(probabilities: torch.Tensor) -> torch.Tensor:
    errors = -probabilities
    errors[torch.arange(len(errors), device=errors.device), probabilities.argmax(dim=1)] += 1
    return errors
