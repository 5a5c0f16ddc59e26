"""What other packages add: strategies, sources and spaces, found by entry point or by import path.

A package names what it adds in its pyproject.toml, for example

    [project.entry-points."asvp.strategies"]
    furthest_first = "mypackage.strategies:FURTHEST_FIRST"

and it is known by that name wherever the package is installed. Without an entry point, `package.module:NAME` serves.
"""

from __future__ import annotations

import re
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from asvp.errors import ConfigError

STRATEGIES = "asvp.strategies"
SOURCES = "asvp.sources"
SPACES = "asvp.spaces"

_IMPORT_PATH = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")


@cache
def plugins(group: str) -> dict[str, EntryPoint]:
    """Entry points of installed packages, by name; of two with one name the first found counts."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group):
        found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def is_import_path(text: str) -> bool:
    """Whether a text has the form `package.module:NAME`."""
    return bool(_IMPORT_PATH.match(text))


def load_plugin(group: str, name: str, *, key: str) -> Any | None:
    """The object behind the name of an entry point or an import path; None where the name is neither.

    Parameters
    ----------
    group : str
        `STRATEGIES`, `SOURCES` or `SPACES`.
    name : str
    key : str
        The option that holds the name, for messages.

    Raises
    ------
    ConfigError
        If it is one of them and cannot be loaded.
    """
    entry = plugins(group).get(name)
    if entry is None and not is_import_path(name):
        return None
    try:
        if entry is not None:
            return entry.load()
        module, _, attribute = name.partition(":")
        return getattr(import_module(module), attribute)
    except Exception as error:
        # Whatever the code of another package raises when it is imported.
        raise ConfigError(
            f"cannot be loaded: {type(error).__name__}: {error}",
            key=key,
            value=name if entry is None else f"{name} = {entry.value}",
            mend="Is the package installed in this environment, and does it import by itself?",
        ) from None
