"""Names of loggers, and whether what they need is installed."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence

from asvp.errors import ConfigError, did_you_mean

TENSORBOARD, MLFLOW, WANDB, NONE = "tensorboard", "mlflow", "wandb", "none"
DEFAULT = (TENSORBOARD,)

_KNOWN = (TENSORBOARD, MLFLOW, WANDB, NONE)


def require_loggers(names: Sequence[str], *, key: str = "log") -> tuple[str, ...]:
    """The loggers that names stand for, each once.

    Parameters
    ----------
    names : sequence of str
        Of "tensorboard", "mlflow" and "wandb"; or "none" alone.
    key : str
        The option or argument that holds them, for messages.

    Raises
    ------
    ConfigError
        If a name is unknown, or what it needs is not installed.
    """
    chosen = tuple(dict.fromkeys([names] if isinstance(names, str) else names))
    for name in chosen:
        _require_known(name, key)
    if NONE in chosen:
        if len(chosen) > 1:
            raise ConfigError("none is no logger beside others", key=key, value=list(chosen), mend="Leave none out")
        return ()
    for name in chosen:
        _require_installed(name, key)
    return chosen


def _require_known(name: object, key: str) -> None:
    if name in _KNOWN:
        return
    hint = did_you_mean(name, _KNOWN)
    raise ConfigError("is no logger", key=key, value=name, mend=f"{hint}Choose among: {', '.join(_KNOWN)}")


def _require_installed(name: str, key: str) -> None:
    missing = [package for package in _needed(name) if not _is_installed(package)]
    if missing:
        raise ConfigError(
            f"needs the package {missing[0]}, which is not installed",
            key=key,
            value=name,
            mend=f"Install it with: pip install 'asvp[{name}]'",
        )


def _needed(name: str) -> list[str]:
    if name == MLFLOW:
        # Without a server the runs go into a data base in the sweep directory.
        return ["mlflow"] if os.environ.get("MLFLOW_TRACKING_URI") else ["mlflow", "sqlalchemy", "alembic"]
    return ["wandb"] if name == WANDB else []


def _is_installed(package: str) -> bool:
    """Whether it can be imported; a folder by that name, such as Weights & Biases leaves, is no package."""
    found = importlib.util.find_spec(package)
    return found is not None and found.origin is not None
