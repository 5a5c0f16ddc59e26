"""Active learning by proxy with pre-trained encoders: the method and its driver.

Importing this package imports neither Ray nor PyTorch; names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config import Config, load_config
    from pipeline.driver import RunResult, run
    from pipeline.selection import select, strategies

__version__ = "0.1.0"

__all__ = ["Config", "RunResult", "load_config", "run", "select", "strategies"]

_HOMES = {
    "Config": "pipeline.config",
    "load_config": "pipeline.config",
    "RunResult": "pipeline.driver",
    "run": "pipeline.driver",
    "select": "pipeline.selection",
    "strategies": "pipeline.selection",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'pipeline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
