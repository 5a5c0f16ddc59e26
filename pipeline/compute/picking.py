"""Selection as a job: a strategy found by name, its inputs made, its picks told."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from asvp.compute.jobs import Choice, PickJob
from asvp.compute.residents import Residents
from asvp.compute.selection_inputs import selection_inputs
from asvp.features.feature_set import Features
from asvp.selection import Plan, Pool, check_strategy, make_pool, run_plan


class Picker(Protocol):
    """Runs a strategy on a pool.

    Attributes
    ----------
    cpus : float or None
        Cores it keeps busy; None: those of the process that asks it.
    """

    @property
    def cpus(self) -> float | None: ...

    def pick(self, plan: Plan, pool: Pool, *, budget: int, seed: int) -> NDArray[np.int64]:
        """Row numbers in pick order, (B,)."""
        ...


FindPicker = Callable[[Plan, Features, "bool | Literal['auto']"], Picker]
"""Who runs a strategy on some features; the last argument is the key `selection.sharded`."""


@dataclass(frozen=True)
class LocalPicker:
    """Runs a strategy in this process."""

    cpus: float | None = None

    def pick(self, plan: Plan, pool: Pool, *, budget: int, seed: int) -> NDArray[np.int64]:
        """As `asvp.selection.run_plan`."""
        return run_plan(plan, pool, budget=budget, seed=seed)


def pick_here(plan: Plan, features: Features, wanted: bool | Literal["auto"]) -> LocalPicker:
    """Always this process."""
    return LocalPicker()


def choice_of(plan: Plan, strategy: str, options: Mapping[str, Any] | None = None, wrap: Iterable[Any] = ()) -> Choice:
    """A checked strategy as a description that needs no strategy to be imported."""
    return Choice(strategy, options or {}, tuple(wrap), plan.info.name, plan.inputs)


def pick(
    job: PickJob, find_picker: FindPicker, residents: Residents, device: str
) -> tuple[NDArray[np.int64], float | None]:
    """The picks of a job, and the cores that were busy with it where they are not this process's own."""
    plan = check_strategy(job.choice.strategy, job.choice.options, job.choice.wrap, key="selection.")
    scorer = None if job.scorer is None else job.scorer.load()
    members = [member.load() for member in job.members]
    picker = find_picker(plan, job.pool, job.sharded)
    # What lies on this device cannot be read by other processes.
    scored = residents.rows_of(job.pool) if isinstance(picker, LocalPicker) and scorer is not None else job.pool
    given = selection_inputs(plan, job.pool, job.labelled, job.labels, scorer, members, scored)
    return picker.pick(plan, make_pool(**given, device=device), budget=job.budget, seed=job.seed), picker.cpus
