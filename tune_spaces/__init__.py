"""Search spaces, and the sweep that runs them with Ray Tune.

What a space is written with is here: `Space`, axes (`grid`, `choice`, `uniform`, `loguniform`), and arms by the dozen
(`budgets`, `strategies`, `refreshes`, `cross`); and `Scheduler`, which stops trials early.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asvp.tune_spaces.arms import budgets, cross, refreshes, strategies
    from asvp.tune_spaces.axes import choice, grid, loguniform, uniform
    from asvp.tune_spaces.space import Space
    from asvp.tune_spaces.stopping import Scheduler

__all__ = [
    "Scheduler",
    "Space",
    "budgets",
    "choice",
    "cross",
    "grid",
    "loguniform",
    "refreshes",
    "strategies",
    "uniform",
]

# Names are loaded when first used: a trial's process imports this package too, and is spared PyTorch.
_HOMES = {
    "Scheduler": "stopping",
    "Space": "space",
    "budgets": "arms",
    "choice": "axes",
    "cross": "arms",
    "grid": "axes",
    "loguniform": "axes",
    "refreshes": "arms",
    "strategies": "arms",
    "uniform": "axes",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
