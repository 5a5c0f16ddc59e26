"""Exact greedy selection without a pass over all rows per pick.

Distances to the nearest centre only ever shrink as centres are added, so an old value is an upper bound of the true
one. Farthest-first picks need the true value of a few rows with the largest bounds only; D² sampling can draw from the
old values and reject. Both give what the plain algorithms give, which look at every row for every pick.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from asvp.selection.geometry.bounds import Bounds, Space
from asvp.selection.geometry.points import (
    Geometry,
    Points,
    between,
    full_precision,
    lower,
    rough_to_nearest,
    to_nearest,
)
from asvp.selection.geometry.window import Window
from asvp.selection.rows import Array

_PIECE = 512
_WINDOW = 512
_PAIRS = 1 << 20
_IN_VAIN = 0.25
"""Share of the rows that may be looked at without a pick before a pass over all is due."""
_EQUAL = 1e-11
"""Squared distances in float64 that differ by less than this share are equal."""
_CANDIDATES = 128
_STALE_SHARE = 0.25
"""Picks, as a share of the rows, after which a pass over all rows costs less than checking candidates."""
_TRIES = 4
"""Candidates a pick after which bounds count as stale: a pass over all rows costs more than many candidates."""


class _Centres:
    """The points picked so far, in memory reserved once."""

    def __init__(self, space: Space, capacity: int) -> None:
        one = space.points(np.zeros(1, dtype=np.int64))
        self._points = Points(
            tuple(factor.new_empty((capacity, factor.shape[1])) for factor in one.factors),
            one.norms.new_empty(capacity),
        )
        self._count = 0

    def add(self, points: Points) -> None:
        places = slice(self._count, self._count + len(points))
        for mine, new in zip(self._points.factors, points.factors, strict=True):
            mine[places] = new
        self._points.norms[places] = points.norms
        self._count += len(points)

    def since(self, count: int) -> Points:
        """All centres but the first `count`, as views."""
        return self._points[count : self._count]

    def pieces(self) -> Iterator[Points]:
        """All centres in pieces large enough for matrix products and small enough for float64, as views."""
        for start in range(0, self._count, _PIECE):
            yield self._points[start : min(start + _PIECE, self._count)]


class _Settled(NamedTuple):
    """Rows whose squared distances to the nearest of the first `seen` centres are known in float64."""

    rows: Array
    values: Array
    seen: int


def farthest_first(space: Space, budget: int, *, labelled: Array, first: int | None = None) -> Array:
    """k-center greedy: again and again the row farthest from all labelled and picked rows, ties by row number.

    Parameters
    ----------
    space : Space
    budget : int
        Rows to pick, B.
    labelled : ndarray of int64, shape (L,)
        The first centres.
    first : int, optional
        The first pick; needed where nothing is labelled.

    Returns
    -------
    ndarray of int64, shape (B,)
        Exactly the picks of the algorithm that computes all distances to every new centre, in exact arithmetic.

    Notes
    -----
    Bounds are float32; rows whose distances lie closer together than its rounding are compared in float64.
    """
    with full_precision():
        return _FarthestFirst(space, budget, labelled).run(first)


class _FarthestFirst:
    def __init__(self, space: Space, budget: int, labelled: Array) -> None:
        self._space = space
        self._budget = budget
        self._tolerance = 2 * space.geometry.error_bound()
        self._bounds = space.bounds(labelled)
        self._centres = _Centres(space, len(labelled) + budget)
        self._seen = np.zeros(len(space), dtype=np.int32)
        self._picks: list[int] = []
        self._settled = _Settled(np.empty(0, dtype=np.int64), np.empty(0), 0)
        if len(labelled):
            self._centres.add(space.points(labelled))
            self._bounds.lower(self._centres.since(0))
            self._seen[:] = len(labelled)
        self._count = len(labelled)

    def run(self, first: int | None) -> Array:
        if first is not None:
            self._picks.append(first)
            self._add(self._space.points(np.array([first])))
            self._bounds.exclude(np.array([first]))
            self._bounds.lower(self._centres.since(self._count - 1))
            self._seen[:] = self._count
        window, in_vain = _WINDOW, 0
        while len(self._picks) < self._budget:
            picks, stale = len(self._picks), self._pick_from_window(window)
            if len(self._picks) > picks:
                window, in_vain = _WINDOW, 0
            elif not stale:
                # All of the window is up to date and yet tied with rows outside.
                window *= 2
            else:
                in_vain += stale
                if in_vain > _IN_VAIN * len(self._space):
                    self._bounds.lower(self._centres.since(int(self._seen.min())))
                    self._seen[:], in_vain = self._count, 0
        return np.array(self._picks, dtype=np.int64)

    def _pick_from_window(self, size: int) -> int:
        """Pick while the farthest row of the window is farther than any row outside can be.

        Returns how many rows of the window had old bounds.
        """
        rows, outside = self._bounds.top(size)
        stale = int(np.count_nonzero(self._seen[rows] < self._count))
        window = self._open(rows)
        copies_only = False
        while len(self._picks) < self._budget:
            best = float(window.values.max())
            copies_only = best <= 0 and outside <= 0
            tied_outside = outside >= 0 and best - self._tolerance <= outside
            if copies_only or tied_outside:
                break
            contested = np.flatnonzero(window.values >= max(0, best - self._tolerance))
            place = contested[0] if len(contested) == 1 else self._settle(window, contested)
            self._picks.append(window.take(int(place)))
        self._add(window.new_centres())
        self._bounds.put(rows, torch.from_numpy(window.values).to(self._space.device))
        self._seen[rows] = self._count
        if copies_only:
            # All rows that are left lie on centres, equally far.
            self._picks += self._bounds.left()[: self._budget - len(self._picks)].tolist()
        return stale

    def _open(self, rows: Array) -> Window:
        """A window of rows with true distances."""
        points, values = self._space.points(rows), self._bounds.of(rows)
        self._bring_up_to_date(rows, points, values)
        return Window(self._space.geometry, rows, points, values)

    def _bring_up_to_date(self, rows: Array, points: Points, values: torch.Tensor) -> None:
        """Lower the values of a window by the centres its rows have not seen, those of like age together."""
        for places in np.array_split(np.argsort(self._seen[rows], kind="stable"), 4):
            unseen = self._centres.since(int(self._seen[rows[places]].min(initial=self._count)))
            if len(unseen):
                chosen = torch.from_numpy(places).to(self._space.device)
                held = values[chosen]
                lower(self._space.geometry, held, points[chosen], unseen)
                values[chosen] = held

    def _settle(self, window: Window, contested: Array) -> int:
        """Among places that float32 cannot tell apart, the farthest in float64, or the first of equals."""
        self._add(window.new_centres())
        rows, values, known = window.rows[contested], np.full(len(contested), np.inf), np.zeros(len(contested), bool)
        # Rows that tie once go on tying: what was settled last lacks the centres since then only.
        _, here, there = np.intersect1d(rows, self._settled.rows, assume_unique=True, return_indices=True)
        values[here], known[here] = self._settled.values[there], True
        for chosen, count in ((known, self._settled.seen), (~known, 0)):
            if chosen.any():
                values[chosen] = np.minimum(values[chosen], self._exact(window, contested[chosen], count))
        self._settled = _Settled(rows, values, self._count)
        ties = np.flatnonzero(values >= (1 - _EQUAL) * values.max())
        return int(contested[ties[0]])

    def _exact(self, window: Window, places: Array, count: int) -> Array:
        """Squared distances in float64 of places of a window to the nearest centre but the first `count`."""
        centres = self._centres.since(count)
        exact = []
        for chunk in torch.split(torch.from_numpy(places), max(1, _PAIRS // len(centres))):
            points = window.points[chunk.to(self._space.device)]
            nearness = self._space.geometry.nearness(points, centres)
            rivals = (nearness >= nearness.amax(dim=1, keepdim=True) - self._tolerance).any(dim=0)
            exact.append(to_nearest(points, centres[torch.nonzero(rivals)[:, 0]]).cpu().numpy())
        return np.concatenate(exact)

    def _add(self, points: Points) -> None:
        self._centres.add(points)
        self._count += len(points)


def d2_sample(space: Space, budget: int, rng: np.random.Generator, *, first: int, excluded: Array) -> Array:
    """k-means++ seeding: each pick drawn in proportion to its squared distance to the nearest earlier pick.

    Arthur and Vassilvitskii 2007, "k-means++: the advantages of careful seeding".

    Parameters
    ----------
    space : Space
    budget : int
        Rows to pick, B, the first among them.
    rng : numpy Generator
    first : int
        The first pick.
    excluded : ndarray of int64
        Rows never picked; they are no centres.

    Returns
    -------
    ndarray of int64, shape (B,)
        Distributed exactly as the picks of the sequential algorithm. Where all rows left lie on picks, the rest is
        drawn uniformly.

    Notes
    -----
    Candidates are drawn from the bounds of the last pass over all rows; one with bound b and true value t is taken
    with probability t / b, which leaves it distributed in proportion to t whatever the bounds.
    """
    if budget == 1:
        return np.array([first], dtype=np.int64)
    with full_precision():
        bounds = space.bounds(excluded)
        picks, pending = [first], [first]
        points = space.points(np.array(pending))
        while len(picks) < budget:
            bounds.exclude(np.array(pending))
            bounds.lower(points)
            if bounds.total() <= 0:
                picks += rng.permutation(bounds.left())[: budget - len(picks)].tolist()
                break
            most = max(_CANDIDATES, int(_STALE_SHARE * len(space)))
            pending, points = _draw_until_stale(space, bounds, min(most, budget - len(picks)), rng)
            picks += pending
    return np.array(picks, dtype=np.int64)


def _draw_until_stale(space: Space, bounds: Bounds, wanted: int, rng: np.random.Generator) -> tuple[list[int], Points]:
    """Up to `wanted` picks from the present bounds; fewer when too many candidates are rejected."""
    picks, tried = list[int](), 0
    centres = _Centres(space, wanted)
    while len(picks) < wanted and (tried < 2 * _CANDIDATES + _TRIES * len(picks) or not picks):
        count = min(_CANDIDATES, wanted - len(picks) + 16)
        rows = bounds.draw(rng.random(count))
        limits = bounds.of(rows).double().cpu().numpy()
        levels = rng.random(count) * limits
        points = space.points(rows)
        true = _nearest(space.geometry, points, centres, levels)
        apart = between(points, points).cpu().numpy()
        taken: list[int] = []
        for place in range(count):
            # A level below the bound is uniform on (0, bound): it falls below the true value with the right chance.
            if levels[place] < true[place] and limits[place] > 0:
                taken.append(place)
                true = np.minimum(true, apart[:, place])
                if len(picks) + len(taken) == wanted:
                    break
        picks += rows[taken].tolist()
        if taken:
            centres.add(points[torch.tensor(taken, device=space.device)])
        tried += count
    return picks, centres.since(0)


def _nearest(geometry: Geometry, points: Points, centres: _Centres, levels: Array) -> Array:
    """Squared distance of each point to the nearest centre, (n,) float64.

    Computed in float32, and again in float64 where rounding leaves a doubt on which side of `levels` it lies.
    """
    nearest = torch.full((len(points),), torch.inf, device=points.norms.device)
    for piece in centres.pieces():
        nearest = torch.minimum(nearest, rough_to_nearest(geometry, points, piece))
    found = nearest.double().cpu().numpy()
    doubtful = np.flatnonzero(np.abs(found - levels) <= 2 * geometry.error_bound())
    if len(doubtful):
        chosen = points[torch.from_numpy(doubtful).to(points.norms.device)]
        exact = [to_nearest(chosen, piece) for piece in centres.pieces()]
        found[doubtful] = torch.stack(exact).amin(dim=0).cpu().numpy()
    return found
