"""ProbCover: cover as many rows as possible by balls around the picks."""

from __future__ import annotations

import numpy as np
import torch
from pydantic import Field

from asvp.selection.contract import Options, StrategyInfo
from asvp.selection.geometry.points import Points, full_precision
from asvp.selection.pool.pool import Pool, required
from asvp.selection.pool.spaces import EuclideanSpace
from asvp.selection.rows import BLOCK_ROWS, Array
from asvp.selection.strategies.clusters import kmeans

_WINDOW = 32
_SAMPLE = 1000
_CENTRES_AT_ONCE = 512
_LEAST_RADIUS = 0.002
"""Nearer than this, float32 cannot tell rows of length one apart."""


class ProbCoverOptions(Options):
    """Options of probcover."""

    radius: float | None = Field(
        default=None, ge=0.002, description="Radius of a ball around a feature of length one; null: by purity."
    )
    purity: float = Field(
        default=0.95, gt=0, le=1, description="Share of the balls that hold one k-means cluster only, for the radius."
    )
    clusters: int = Field(default=20, ge=2, description="k-means clusters for the purity: about as many as classes.")


def probcover(pool: Pool, budget: int, options: ProbCoverOptions, rng: np.random.Generator) -> Array:
    """Picks of ProbCover (algorithm 1): again and again the row whose ball holds most uncovered rows.

    Labelled rows cover their balls from the start. Ties go to the lower row number; once everything is covered, the
    rest is drawn uniformly. The graph of the balls, up to N² edges, is not kept: counts go down by the rows newly
    covered, and only for the rows that may be next.
    """
    space = EuclideanSpace(required(pool.features), pool.device, unit=True)
    radius = options.radius or purity_radius(space, options.clusters, options.purity, rng)
    with full_precision():
        cover = _Cover(space, radius, pool.labelled)
        picks = cover.picks(budget)
    rest = np.setdiff1d(pool.unlabelled(), picks)
    return np.concatenate([picks, rng.permutation(rest)[: budget - len(picks)]]).astype(np.int64)


def purity_radius(space: EuclideanSpace, clusters: int, purity: float, rng: np.random.Generator) -> float:
    """The largest radius at which the wanted share of balls holds rows of one k-means cluster only.

    A ball is pure while it is smaller than the distance to the nearest row of another cluster, so the radius is a
    quantile of those distances; it is taken over 1,000 random rows (the authors try radii on a grid).
    """
    member_of = kmeans(space, clusters, rng).member_of
    rows = rng.permutation(len(space))[:_SAMPLE]
    with full_precision():
        points = space.points(rows)
        own = torch.from_numpy(member_of[rows]).to(space.device)
        nearest = torch.full((len(rows),), torch.inf, device=space.device)
        for first, block in space.blocks():
            squared = block.norms[:, None] - 2 * space.geometry.nearness(block, points)
            theirs = torch.from_numpy(member_of[first : first + len(block)]).to(space.device)
            squared.masked_fill_(theirs[:, None] == own, torch.inf)
            nearest = torch.minimum(nearest, squared.amin(dim=0))
    distances = np.sort(nearest.clamp(min=0).sqrt().cpu().numpy())
    radius = float(distances[int((1 - purity) * (len(distances) - 1))])
    return max(radius, _LEAST_RADIUS) if np.isfinite(radius) else _LEAST_RADIUS


class _Cover:
    """Which rows are covered, and upper bounds of what each row's ball would add."""

    def __init__(self, space: EuclideanSpace, radius: float, labelled: Array) -> None:
        self._space = space
        self._limit = radius**2
        self._free = np.ones(len(space), dtype=bool)
        self._free[labelled] = False
        self._uncovered = np.ones(len(space), dtype=bool)
        for centres in _pieces(labelled, _CENTRES_AT_ONCE):
            self._uncovered[self._balls(centres).any(axis=1)] = False
        self._counts = self._count(np.flatnonzero(self._uncovered))
        self._bounds = np.where(self._free, self._counts, -1)
        self._uncounted: list[Array] = []

    def picks(self, budget: int) -> Array:
        """Up to `budget` picks that each cover something new."""
        picks: list[int] = []
        while len(picks) < budget and self._uncovered.any():
            found = self._pick_from_window(budget - len(picks))
            picks += found
            if not found:
                self._bring_up_to_date()
        return np.array(picks, dtype=np.int64)

    def _pick_from_window(self, budget: int) -> list[int]:
        """Pick while the best row of the window comes before any row outside, by gain and then row number."""
        order = self._leading(_WINDOW + 1)
        rows, outside = order[:_WINDOW], order[_WINDOW:]
        limit = (-int(self._bounds[outside[0]]), int(outside[0])) if len(outside) else (1, 0)
        balls = self._balls(rows) & self._uncovered[:, None]
        gains = np.where(self._free[rows], balls.sum(axis=0), -1)
        picks: list[int] = []
        while len(picks) < budget:
            place = int(np.lexsort((rows, -gains))[0])
            if gains[place] < 1 or (-int(gains[place]), int(rows[place])) > limit:
                break
            newly = np.flatnonzero(balls[:, place])
            gains -= balls[newly].sum(axis=0)
            gains[place] = -1
            balls[newly] = False
            self._uncovered[newly] = False
            self._uncounted.append(newly)
            self._free[rows[place]] = False
            picks.append(int(rows[place]))
        self._bounds[rows] = gains
        return picks

    def _leading(self, count: int) -> Array:
        """The rows of the largest bounds, ties by row number."""
        if count >= len(self._bounds):
            rows = np.arange(len(self._bounds))
        else:
            least = np.partition(self._bounds, len(self._bounds) - count)[len(self._bounds) - count]
            rows = np.flatnonzero(self._bounds >= least)
        return np.asarray(rows[np.lexsort((rows, -self._bounds[rows]))][:count])

    def _bring_up_to_date(self) -> None:
        """Count all balls down by the rows covered since; every row is counted so at most once in a run."""
        if self._uncounted:
            newly = np.concatenate(self._uncounted)
            self._uncounted = []
            self._counts -= self._count(newly)
            self._bounds = np.where(self._free, self._counts, -1)

    def _count(self, targets: Array) -> Array:
        """How many of the targets each row's ball holds, (N,) int64.

        Two targets are in each other's balls or neither is, so pairs of targets are looked at once.
        """
        counts = np.zeros(len(self._space), dtype=np.int64)
        rest = np.setdiff1d(np.arange(len(self._space)), targets)
        inner, outer = _pieces(targets, BLOCK_ROWS), _pieces(rest, BLOCK_ROWS)
        for number, rows in enumerate(inner):
            points = self._space.points(rows)
            counts[rows] += np.count_nonzero(self._inside(points, points), axis=1)
            for others in inner[number + 1 :]:
                found = self._inside(self._space.points(others), points)
                counts[others] += np.count_nonzero(found, axis=1)
                counts[rows] += np.count_nonzero(found, axis=0)
            for others in outer:
                counts[others] += np.count_nonzero(self._inside(self._space.points(others), points), axis=1)
        return counts

    def _balls(self, rows: Array) -> Array:
        """(N, m) mask of what lies within the radius of each row named."""
        points = self._space.points(rows)
        return np.concatenate([self._inside(block, points) for _, block in self._space.blocks()])

    def _inside(self, points: Points, centres: Points) -> Array:
        """(n, m) mask: |x|² - 2 x·c < r²."""
        least = (points.norms - self._limit) / 2
        return (self._space.geometry.nearness(points, centres) > least[:, None]).cpu().numpy()


def _pieces(rows: Array, size: int) -> list[Array]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]


PROBCOVER = StrategyInfo(
    name="probcover",
    summary="Rows whose balls cover most of the pool; made for very small budgets, needs no labels.",
    paper="Yehuda, Dekel, Hacohen and Weinshall 2022, Active learning through a covering lens",
    run=probcover,
    inputs=("features",),
    representation="raw",
    options=ProbCoverOptions,
    complexity="time O(N² D) in matrix products, memory O(N)",
)
