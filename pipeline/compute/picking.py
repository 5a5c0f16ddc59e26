"""Who runs a selection: in this process on all rows, or by actors where the shards lie."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from asvp.selection import Plan, Pool, run_plan


class Picker(Protocol):
    """Runs a strategy on a pool.

    Attributes
    ----------
    cpus : float
        Cores it keeps busy.
    """

    @property
    def cpus(self) -> float: ...

    def pick(self, plan: Plan, pool: Pool, *, budget: int, seed: int) -> NDArray[np.int64]:
        """Row numbers in pick order, (B,)."""
        ...


@dataclass(frozen=True)
class LocalPicker:
    """Runs a strategy in this process."""

    cpus: float = 1.0

    def pick(self, plan: Plan, pool: Pool, *, budget: int, seed: int) -> NDArray[np.int64]:
        """As `asvp.selection.run_plan`."""
        return run_plan(plan, pool, budget=budget, seed=seed)
