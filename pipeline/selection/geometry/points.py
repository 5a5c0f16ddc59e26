"""Points of a space and how far apart they are: blocked float32 products, checked and exact float64 distances.

Two geometries share one interface. In the Euclidean one a row is its feature. In that of BADGE's gradients a row is the
outer product q ⊗ h of two factors; its inner products are products of the factors' inner products, so the (N, C·D)
matrix is never made.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from asvp.selection.rows import Array

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

    def to(self, device: str) -> Points:
        """The same on another device."""
        return Points(tuple(factor.to(device) for factor in self.factors), self.norms.to(device))

    def copy(self) -> Points:
        """The same in memory of its own: a view would be sent to another process with all that it is a view of."""
        return Points(tuple(factor.clone() for factor in self.factors), self.norms.clone())

    @staticmethod
    def join(parts: list[Points]) -> Points:
        """All rows of several pieces."""
        columns = zip(*(part.factors for part in parts), strict=True)
        return Points(tuple(torch.cat(column) for column in columns), torch.cat([part.norms for part in parts]))


class Geometry(Protocol):
    """How distances are computed; small, unlike the rows."""

    def nearness(self, points: Points, centres: Points) -> torch.Tensor:
        """(n, m) float32: the point's squared norm minus twice this is the squared distance."""
        ...

    def error_bound(self) -> float:
        """What a squared distance by `nearness` may be off by."""
        ...


@dataclass(frozen=True)
class Euclidean:
    """Rows as they are, with norms taken relative to the pool's mean.

    Attributes
    ----------
    mean : float32 tensor, shape (D,)
    largest : float
        Largest squared norm of a row.
    """

    mean: torch.Tensor
    largest: float

    def nearness(self, points: Points, centres: Points) -> torch.Tensor:
        # Only the fewer of the two are moved to the mean: exact in effect, and neither a block nor a long list of
        # centres has to be copied.
        if len(points) < len(centres):
            moved = points.factors[0] - self.mean
            return torch.addmm(-centres.norms / 2, moved, centres.factors[0].T).sub_((moved @ self.mean)[:, None])
        moved = centres.factors[0] - self.mean
        offset = -(moved @ self.mean) - centres.norms / 2
        return torch.addmm(offset, points.factors[0], moved.T)

    def error_bound(self) -> float:
        radius = math.sqrt(self.largest)
        return 16 * _EPSILON * radius * (radius + float(torch.linalg.vector_norm(self.mean)))


@dataclass(frozen=True)
class OuterProducts:
    """Rows q ⊗ h as their two factors.

    Attributes
    ----------
    largest : float
        Largest squared norm of a row.
    """

    largest: float

    def nearness(self, points: Points, centres: Points) -> torch.Tensor:
        product = points.factors[0] @ centres.factors[0].T
        product *= points.factors[1] @ centres.factors[1].T
        product -= centres.norms / 2
        return product

    def error_bound(self) -> float:
        return 16 * _EPSILON * self.largest


def lower(geometry: Geometry, held: torch.Tensor, points: Points, centres: Points) -> None:
    """Bring `held`, (n,) float32, down to each point's squared distance to the nearest centre, in place.

    What is too small beside the norms to be trusted is computed again in float64.
    """
    nearest = rough_to_nearest(geometry, points, centres)
    suspect = (nearest <= _CLOSE * points.norms) & (nearest < held) & (held > 0)
    rows = torch.nonzero(suspect)[:, 0]
    if len(rows):
        nearest[rows] = to_nearest(points[rows], centres).float()
    torch.minimum(held, nearest.clamp_(min=0), out=held)


def apart(geometry: Geometry, points: Points, centres: Points, same: torch.Tensor) -> torch.Tensor:
    """Squared distances (n, m) in float32, checked as in `lower`.

    `same`, (m,) int64, tells which of the points each centre is; how far those are from themselves is not computed.
    """
    squared = points.norms[:, None] - 2 * geometry.nearness(points, centres)
    suspect = squared <= _CLOSE * points.norms[:, None]
    suspect[same, torch.arange(len(same), device=same.device)] = False
    rows = torch.nonzero(suspect.any(dim=1))[:, 0]
    if len(rows):
        exact = between(points[rows], centres).float()
        squared[rows] = torch.where(suspect[rows], exact, squared[rows])
    return squared.clamp_(min=0)


def between(points: Points, centres: Points, origin: torch.Tensor | None = None) -> torch.Tensor:
    """Squared distances (n, m) in float64; 0 for equal rows. Rows are measured from `origin`, (1, D), or a centre."""
    around = centres.factors if origin is None else (origin,)
    first, second = _moved(points, around), _moved(centres, around)
    product = torch.ones((), dtype=torch.float64, device=points.norms.device)
    own, other = product, product
    for mine, theirs in zip(first, second, strict=True):
        product = product * (mine @ theirs.T)
        own = own * mine.square().sum(dim=1)
        other = other * theirs.square().sum(dim=1)
    squared = own[:, None] + other - 2 * product
    # Rounding leaves equal rows a little apart; nothing else comes as near in float64.
    return torch.where(squared <= 1e-13 * (own[:, None] + other), 0.0, squared)


def rough_to_nearest(geometry: Geometry, points: Points, centres: Points) -> torch.Tensor:
    """Squared distance of each point to the nearest centre, (n,) float32, as far as `Geometry.error_bound` off."""
    return points.norms - 2 * geometry.nearness(points, centres).amax(dim=1)


def to_nearest(points: Points, centres: Points) -> torch.Tensor:
    """Squared distance of each point to the nearest centre, (n,) float64; 0 for equal rows."""
    squared, places = between(points, centres).min(dim=1)
    if len(points.factors) > 1:
        return squared
    # Differences keep all digits where norms are large beside a distance.
    difference = points.factors[0].double() - centres.factors[0][places].double()
    return torch.where(squared > 0, difference.square().sum(dim=1), squared)


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
    return as_tensor(values).to(device=device, dtype=torch.float32)


def as_tensor(values: Array) -> torch.Tensor:
    """A tensor on the memory of an array; not to be written to where the array is not."""
    return torch.from_numpy(values if values.flags.writeable else np.asarray(_Unlocked(values)))


def squared_lengths(rows: torch.Tensor) -> torch.Tensor:
    """Squared Euclidean length of each row, (n,)."""
    lengths: torch.Tensor = torch.linalg.vector_norm(rows, dim=1)
    return lengths.square()


class _Unlocked:
    """A read-only array shown as writable, since torch warns of read-only memory even where nothing is written."""

    def __init__(self, values: Array) -> None:
        self._values = values
        interface = dict(values.__array_interface__)
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def _moved(points: Points, around: tuple[torch.Tensor, ...]) -> list[torch.Tensor]:
    """The factors in float64, a single one measured from one of the centres to keep its numbers small."""
    if len(points.factors) == 1:
        return [points.factors[0].double() - around[0][:1].double()]
    return [factor.double() for factor in points.factors]
