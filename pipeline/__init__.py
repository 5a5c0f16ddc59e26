"""Active learning by proxy with pre-trained encoders: the method and its driver.

Importing this package imports neither Ray nor PyTorch; names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asvp.alignment import logme, ped
    from asvp.config import Config, load_config
    from asvp.driver.loop import RunResult, run
    from asvp.models.classifier import Classifier
    from asvp.report import compare
    from asvp.selection import select, strategies
    from asvp.tune_spaces.result import SweepResult
    from asvp.tune_spaces.sweep import sweep

__version__ = "0.2.0.dev0"

__all__ = [
    "Classifier",
    "Config",
    "RunResult",
    "SweepResult",
    "compare",
    "load_config",
    "logme",
    "ped",
    "run",
    "select",
    "strategies",
    "sweep",
]

_HOMES = {
    "Classifier": "asvp.models.classifier",
    "Config": "asvp.config",
    "RunResult": "asvp.driver.loop",
    "SweepResult": "asvp.tune_spaces.result",
    "compare": "asvp.report",
    "load_config": "asvp.config",
    "logme": "asvp.alignment",
    "ped": "asvp.alignment",
    "run": "asvp.driver.loop",
    "select": "asvp.selection",
    "strategies": "asvp.selection",
    "sweep": "asvp.tune_spaces.sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'asvp' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
