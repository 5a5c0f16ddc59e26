"""The rows that farthest-first selection looks at: those of the largest bounds, in the memory of this process."""

from __future__ import annotations

import numpy as np
import torch

from asvp.selection.geometry.points import Geometry, Points, apart
from asvp.selection.rows import Array

_MEASURED_AT_ONCE = 64


class Window:
    """Some rows with their true distances to the nearest centre, from which rows are taken as centres one by one.

    Parameters
    ----------
    geometry : Geometry
    rows : ndarray of int64, shape (n,)
    points : Points
        The same rows.
    values : float32 tensor, shape (n,)
        Their squared distances to the nearest centre; -1 for rows that are never picked.

    Attributes
    ----------
    values : float32 ndarray, shape (n,)
        The same, brought down by every row taken.
    """

    def __init__(self, geometry: Geometry, rows: Array, points: Points, values: torch.Tensor) -> None:
        self.rows = rows
        self.points = points
        self.values = values.cpu().numpy()
        self._geometry = geometry
        self._measured: dict[int, Array] = {}
        self._new: list[int] = []

    def take(self, place: int) -> int:
        """Make the row at a place a centre; its number."""
        if place not in self._measured:
            self._measure(place)
        np.minimum(self.values, self._measured[place], out=self.values)
        self.values[place] = -1.0
        self._new.append(place)
        return int(self.rows[place])

    def new_centres(self) -> Points:
        """The rows taken since the last call."""
        places, self._new = self._new, []
        return self.points[torch.tensor(places, dtype=torch.int64, device=self.points.norms.device)]

    def _measure(self, place: int) -> None:
        """Distances to the row at a place, and in the same product to those that are likely to be taken next."""
        count = min(_MEASURED_AT_ONCE, len(self.values))
        places = np.union1d(np.argpartition(self.values, -count)[-count:], place)
        chosen = torch.from_numpy(places).to(self.points.norms.device)
        distances = apart(self._geometry, self.points, self.points[chosen], same=chosen)
        self._measured = dict(zip(places.tolist(), distances.T.contiguous().cpu().numpy(), strict=True))
