"""BAIT: picks that leave the least Fisher-weighted variance of the last layer's weights."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from pydantic import Field

from asvp.errors import SelectionError
from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.points import full_precision, to_device
from asvp.selection.pool.pool import Pool, required
from asvp.selection.pool.spaces import largest_number
from asvp.selection.rows import Array, even_blocks

_CHECK_EVERY = 64
_LEAST_GAIN, _LARGEST_GAIN = 1e-30, 1e36
_TINY = 1e-6


class BaitOptions(Options):
    """Options of bait."""

    rank: int = Field(default=128, ge=1, description="Leading directions of the pool's Fisher matrix that are kept.")
    ridge: float = Field(default=1.0, gt=0, description="Ridge on the information of labelled and picked rows.")
    oversample: float = Field(
        default=2.0, ge=1, description="Rows picked forwards, in budgets, before some are dropped."
    )


def bait(pool: Pool, budget: int, options: BaitOptions, rng: np.random.Generator) -> Array:
    """Picks of BAIT (algorithm 1): greedy forwards to twice the budget, then greedy backwards.

    Each step minimises tr(M⁻¹ F), F the pool's mean Fisher information and M that of labelled and picked rows with a
    ridge. A row's Fisher matrix, of rank C in C·D dimensions, is replaced by p (1 - p) h hᵀ with p the largest
    probability (the binary form of Huseljic et al. 2024), in the leading directions of F. With vectors g of r numbers
    a step is two products of the (N, r) matrix with a vector and an update of r² numbers.
    """
    if pool.probabilities is None:
        raise ValueError("bait needs probabilities")
    with full_precision():
        vectors = _fisher_vectors(pool, options.rank)
        pool_fisher = (vectors.T @ vectors).double() / pool.size
        _require_fourth_powers(pool, vectors, pool_fisher)
        rows = torch.from_numpy(pool.labelled).to(vectors.device)
        start = options.ridge * torch.eye(vectors.shape[1], dtype=torch.float64, device=vectors.device)
        held = vectors[rows].double()
        free = torch.from_numpy(~pool.is_labelled()).to(vectors.device)
        design = _Design(vectors, pool_fisher, start + held.T @ held)
        forward = design.add(min(int(options.oversample * budget), pool.size - len(pool.labelled)), free)
        return np.array(design.drop(forward, len(forward) - budget), dtype=np.int64)


class _Design:
    """Inverse information A = M⁻¹ and, for every row g, g'Ag and g'AFAg, kept up to date by rank-one updates."""

    def __init__(self, vectors: torch.Tensor, fisher: torch.Tensor, information: torch.Tensor) -> None:
        self._vectors = vectors
        self._fisher = fisher
        self._information = information

    def add(self, count: int, free: torch.Tensor) -> list[int]:
        """Rows that lower tr(AF) most, one after another, ties by row number."""
        free, picks = free.clone(), []
        self._refresh(self._vectors)
        for step in range(count):
            if step % _CHECK_EVERY == _CHECK_EVERY - 1:
                self._refresh(self._vectors)
            gains = torch.where(free, self._weighted / (1 + self._own), -torch.inf)
            row = int(np.argmax(gains.cpu().numpy()))
            picks.append(row)
            free[row] = False
            self._update(self._vectors, self._vectors[row].double(), 1.0)
        return picks

    def drop(self, picks: list[int], count: int) -> list[int]:
        """What is left of the picks after dropping, one after another, those that raise tr(AF) least."""
        vectors = self._vectors[torch.tensor(picks, device=self._vectors.device)]
        kept = torch.ones(len(picks), dtype=torch.bool, device=vectors.device)
        self._refresh(vectors)
        for step in range(count):
            if step % _CHECK_EVERY == _CHECK_EVERY - 1:
                self._refresh(vectors)
            losses = torch.where(kept, self._weighted / (1 - self._own).clamp(min=1e-12), torch.inf)
            # Of equal rows the later pick goes.
            place = len(picks) - 1 - int(np.argmin(losses.flip(0).cpu().numpy()))
            kept[place] = False
            self._update(vectors, vectors[place].double(), -1.0)
        return [row for row, stays in zip(picks, kept.tolist(), strict=True) if stays]

    def _refresh(self, vectors: torch.Tensor) -> None:
        """Compute all from the information matrix itself; rank-one updates gather rounding errors."""
        self._inverse = torch.linalg.inv(self._information)
        inverse = self._inverse.float()
        between = (self._inverse @ self._fisher @ self._inverse).float()
        self._own = _quadratic_forms(vectors, inverse)
        self._weighted = _quadratic_forms(vectors, between)

    def _update(self, vectors: torch.Tensor, vector: torch.Tensor, sign: float) -> None:
        """Information grows (sign 1) or shrinks (-1) by the outer product of the vector."""
        along = self._inverse @ vector
        through = self._inverse @ (self._fisher @ along)
        scale = sign / (1 + sign * float(vector @ along))
        curvature = float(along @ self._fisher @ along)
        first, second = (vectors @ torch.stack([along, through], dim=1).float()).double().unbind(dim=1)
        self._weighted += -2 * scale * first * second + scale**2 * curvature * first**2
        self._own -= scale * first**2
        self._inverse -= scale * torch.outer(along, along)
        self._information += sign * torch.outer(vector, vector)


def _require_fourth_powers(pool: Pool, vectors: torch.Tensor, fisher: torch.Tensor) -> None:
    """Raise where what a row may gain, a fourth power of features, leaves the range of float32."""
    gain = float(vectors.double().square().sum(dim=1).max() * fisher.trace())
    if _LEAST_GAIN < gain < _LARGEST_GAIN:
        return
    # Gains of nothing at ordinary features are those of probabilities of 0 and 1.
    number = largest_number(required(pool.features))
    if gain >= _LARGEST_GAIN or not np.isfinite(gain) or 0 < number < _TINY:
        raise SelectionError(
            "numbers of this size have fourth powers that float32 does not hold",
            key="features",
            value=f"{number:.3g}",
            mend="Multiply all features by one number that makes them about 1 (and ridge by its square)",
        )


def _quadratic_forms(vectors: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """g'Mg for every row g, (n,) float64."""
    forms = torch.empty(len(vectors), dtype=torch.float64, device=vectors.device)
    for start in range(0, len(vectors), 4096):
        part = vectors[start : start + 4096]
        forms[start : start + 4096] = ((part @ matrix) * part).sum(dim=1).double()
    return forms


def _fisher_vectors(pool: Pool, rank: int) -> torch.Tensor:
    """sqrt(p (1 - p)) h of each row in the leading directions of the pool's Fisher matrix, (N, r) float32."""
    device = torch.device(pool.device)
    features = required(pool.features)
    fisher = torch.zeros((features.dim, features.dim), dtype=torch.float64, device=device)
    for _, block in _weighted_blocks(pool, device):
        fisher += (block.T @ block).double()
    directions = torch.linalg.eigh(fisher).eigenvectors[:, -rank:].float()
    vectors = torch.empty((pool.size, directions.shape[1]), dtype=torch.float32, device=device)
    for first, block in _weighted_blocks(pool, device):
        vectors[first : first + len(block)] = block @ directions
    return vectors


def _weighted_blocks(pool: Pool, device: torch.device) -> Iterator[tuple[int, torch.Tensor]]:
    pairs = zip(even_blocks(required(pool.features)), even_blocks(required(pool.probabilities)), strict=True)
    for (first, features), (_, probabilities) in pairs:
        largest = to_device(probabilities, device).amax(dim=1).clamp(0, 1)
        yield first, to_device(features, device) * (largest * (1 - largest)).sqrt()[:, None]


BAIT = StrategyInfo(
    name="bait",
    summary="Rows that leave the least Fisher-weighted uncertainty of the last layer (forward-backward greedy).",
    paper=(
        "Ash, Goel, Krishnamurthy and Kakade 2021, Gone fishing: neural active learning with Fisher embeddings; "
        "Huseljic et al. 2024, Fast fishing"
    ),
    run=bait,
    inputs=("features", "probabilities"),
    representation="proxy",
    options=BaitOptions,
    complexity="time O(N D r + B (N r + r²)) for rank r, memory O(N r)",
)
