"""What a run ran on: versions, devices, and the state of the code."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

_PACKAGES = [
    "asvp",
    "ray",
    "torch",
    "transformers",
    "pyarrow",
    "numpy",
    "scipy",
    "scikit-learn",
    "pydantic",
    "safetensors",
]


def describe_environment(machine: Mapping[str, Any]) -> dict[str, Any]:
    """Versions, devices and git commit, as written to environment.json.

    Parameters
    ----------
    machine : mapping
        What the work is done on, as `asvp.compute.machine.describe_machine` tells it there.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        **machine,
        "git": _git(),
    }


@cache
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@cache
def _git() -> dict[str, Any] | None:
    """Commit of this source tree, and whether it was changed; None for an installed package."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        commit = _output(folder, "rev-parse", "HEAD")
        return {"commit": commit, "changed": bool(_output(folder, "status", "--porcelain", "--untracked-files=no"))}
    except (OSError, subprocess.SubprocessError):
        return None


def _output(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=10).stdout.strip()
