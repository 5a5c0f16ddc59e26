"""Where rows lie and how far apart they are: blocked float32 products, checked and exact float64 distances.

Two spaces share one interface. In the Euclidean one a row is its feature. In the gradient space of BADGE a row is the
outer product q ⊗ h of two factors; its inner products are products of the factors' inner products, so the (N, C·D)
matrix is never made.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from pipeline.selection.rows import Array, FeatureRows, even_blocks

_CLOSE = 1e-4
"""Squared distances below this share of the row's squared norm are computed again in float64."""

_EPSILON = float(np.finfo(np.float32).eps)


@dataclass(frozen=True)
class Points:
    """Some rows of a space in memory.

    Attributes
    ----------
    factors : tuple of float32 tensors, each (n, d)
        One factor in the Euclidean space, two in the gradient space.
    norms : float32 tensor, shape (n,)
        Squared norms; in the Euclidean space after the pool's mean is taken off.
    """

    factors: tuple[torch.Tensor, ...]
    norms: torch.Tensor

    def __len__(self) -> int:
        return len(self.norms)

    def __getitem__(self, rows: slice | torch.Tensor) -> Points:
        return Points(tuple(factor[rows] for factor in self.factors), self.norms[rows])

    @staticmethod
    def join(parts: list[Points]) -> Points:
        """All rows of several pieces."""
        columns = zip(*(part.factors for part in parts), strict=True)
        return Points(tuple(torch.cat(column) for column in columns), torch.cat([part.norms for part in parts]))


class Space(Protocol):
    """N rows with distances."""

    device: torch.device

    def __len__(self) -> int: ...

    def blocks(self) -> Iterator[tuple[int, Points]]:
        """(first row, rows) in pieces of `BLOCK_ROWS`."""
        ...

    def points(self, rows: Array) -> Points:
        """The rows named."""
        ...

    def nearness(self, points: Points, centres: Points) -> torch.Tensor:
        """(n, m) float32: the point's squared norm minus twice this is the squared distance."""
        ...

    def error_bound(self) -> float:
        """What a squared distance by `nearness` may be off by."""
        ...


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
    """

    def __init__(self, features: FeatureRows, device: str = "cpu", *, unit: bool = False) -> None:
        self._features = features
        self._unit = unit
        self.device = torch.device(device)
        self.mean = self._mean()
        self._norms = self._squared_norms()
        radius = float(self._norms.max()) ** 0.5
        self._largest = radius * (radius + float(self.mean.norm()))

    def __len__(self) -> int:
        return len(self._features)

    @property
    def dim(self) -> int:
        """Numbers in a row, D."""
        return self._features.dim

    def blocks(self) -> Iterator[tuple[int, Points]]:
        for first, block in self._tensors():
            yield first, Points((block,), self._norms[first : first + len(block)])

    def points(self, rows: Array) -> Points:
        values = self._scaled(to_device(self._features.gather(rows), self.device))
        return Points((values,), self._norms[torch.from_numpy(rows).to(self.device)])

    def nearness(self, points: Points, centres: Points) -> torch.Tensor:
        # Only the centres are moved to the mean: exact in effect, and no block has to be copied.
        moved = centres.factors[0] - self.mean
        offset = -(moved @ self.mean) - centres.norms / 2
        return torch.addmm(offset, points.factors[0], moved.T)

    def error_bound(self) -> float:
        return float(16 * _EPSILON * self._largest)

    def _tensors(self) -> Iterator[tuple[int, torch.Tensor]]:
        for first, block in even_blocks(self._features):
            yield first, self._scaled(to_device(block, self.device))

    def _scaled(self, block: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.normalize(block, dim=1) if self._unit else block

    def _mean(self) -> torch.Tensor:
        total = torch.zeros(self.dim, dtype=torch.float64, device=self.device)
        for _, block in self._tensors():
            total += block.sum(dim=0, dtype=torch.float32).double()
        return (total / len(self)).float()

    def _squared_norms(self) -> torch.Tensor:
        norms = torch.empty(len(self), dtype=torch.float32, device=self.device)
        for first, block in self._tensors():
            norms[first : first + len(block)] = _squared_lengths(block - self.mean)
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
        self.norms = torch.empty(len(features), dtype=torch.float32, device=self.device)
        for first, factors in self._factors():
            lengths = [_squared_lengths(factor) for factor in factors]
            self.norms[first : first + len(lengths[0])] = lengths[0] * lengths[1]
        self._largest = float(self.norms.max())

    def __len__(self) -> int:
        return len(self._features)

    def blocks(self) -> Iterator[tuple[int, Points]]:
        for first, factors in self._factors():
            yield first, Points(factors, self.norms[first : first + len(factors[0])])

    def points(self, rows: Array) -> Points:
        errors = _prediction_errors(to_device(self._probabilities.gather(rows), self.device))
        features = to_device(self._features.gather(rows), self.device)
        return Points((errors, features), self.norms[torch.from_numpy(rows).to(self.device)])

    def nearness(self, points: Points, centres: Points) -> torch.Tensor:
        product = points.factors[0] @ centres.factors[0].T
        product *= points.factors[1] @ centres.factors[1].T
        product -= centres.norms / 2
        return product

    def error_bound(self) -> float:
        return float(16 * _EPSILON * self._largest)

    def _factors(self) -> Iterator[tuple[int, tuple[torch.Tensor, torch.Tensor]]]:
        both = zip(even_blocks(self._probabilities), even_blocks(self._features), strict=True)
        for (first, probabilities), (_, features) in both:
            errors = _prediction_errors(to_device(probabilities, self.device))
            yield first, (errors, to_device(features, self.device))


def lower(space: Space, held: torch.Tensor, points: Points, centres: Points) -> None:
    """Bring `held`, (n,) float32, down to each point's squared distance to the nearest centre, in place.

    What is too small beside the norms to be trusted is computed again in float64.
    """
    nearest = points.norms - 2 * space.nearness(points, centres).amax(dim=1)
    suspect = (nearest <= _CLOSE * points.norms) & (nearest < held) & (held > 0)
    rows = torch.nonzero(suspect)[:, 0]
    if len(rows):
        nearest[rows] = between(points[rows], centres).amin(dim=1).float()
    torch.minimum(held, nearest.clamp_(min=0), out=held)


def between(points: Points, centres: Points) -> torch.Tensor:
    """Squared distances (n, m) in float64; 0 for equal rows."""
    first, second = _moved(points, centres.factors), _moved(centres, centres.factors)
    product = torch.ones((), dtype=torch.float64, device=points.norms.device)
    own, other = product, product
    for mine, theirs in zip(first, second, strict=True):
        product = product * (mine @ theirs.T)
        own = own * mine.square().sum(dim=1)
        other = other * theirs.square().sum(dim=1)
    squared = own[:, None] + other - 2 * product
    # Rounding leaves equal rows a little apart; nothing else comes as near in float64.
    return torch.where(squared <= 1e-13 * (own[:, None] + other), 0.0, squared)


@contextmanager
def full_precision() -> Iterator[None]:
    """Products in true float32, whatever a caller set for training; bfloat16 or TF32 would break the bounds."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def to_device(block: Array, device: torch.device) -> torch.Tensor:
    """A float32 tensor of a block; of float32 in memory a view, which must not be written to."""
    values = np.ascontiguousarray(block)
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    shown = values if values.flags.writeable else np.asarray(_Unlocked(values))
    return torch.from_numpy(shown).to(device=device, dtype=torch.float32)


class _Unlocked:
    """A read-only array shown as writable, since torch warns of read-only memory even where nothing is written."""

    def __init__(self, values: Array) -> None:
        self._values = values
        interface = dict(values.__array_interface__)
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _squared_lengths(rows: torch.Tensor) -> torch.Tensor:
    lengths: torch.Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths.square()


def _prediction_errors(probabilities: torch.Tensor) -> torch.Tensor:
    errors = -probabilities
    errors[torch.arange(len(errors), device=errors.device), probabilities.argmax(dim=1)] += 1
    return errors


def _moved(points: Points, around: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """The factors in float64, a single one measured from one of the centres to keep its numbers small."""
    if len(points.factors) == 1:
        return [points.factors[0].double() - around[0][:1].double()]
    return [factor.double() for factor in points.factors]
