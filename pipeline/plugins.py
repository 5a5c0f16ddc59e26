"""What other packages add: strategies, sources and spaces, found by entry point or by import path.

A package names what it adds in its pyproject.toml, for example

    [project.entry-points."asvp.strategies"]
    furthest_first = "mypackage.strategies:FURTHEST_FIRST"

and it is known by that name wherever the package is installed. Without an entry point, `package.module:NAME` serves.
What has to be there is a `StrategyInfo`, a function (place, config) -> `Source`, or a `Space` or function
(config) -> `Space`; docs/extending.md shows one of each.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, TypeVar

from asvp.errors import AsvpError, ConfigError

STRATEGIES = "asvp.strategies"
SOURCES = "asvp.sources"
SPACES = "asvp.spaces"

_IMPORT_PATH = re.compile(r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")

Thing = TypeVar("Thing")


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


def origin(group: str, name: str) -> str:
    """The package that adds what an entry point names."""
    entry = plugins(group)[name]
    return entry.module.partition(".")[0] if entry.dist is None else entry.dist.name


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
            value=name if entry is None else f"{name} = {entry.value} of {origin(group, name)}",
            mend="Is the package installed in this environment, and does it import by itself?",
        ) from error


def call_plugin(function: Callable[..., Any], *arguments: Any, key: str, value: str) -> Any:
    """What a function of another package returns.

    Raises
    ------
    AsvpError
        The function's own as it is; whatever else it raises as a ConfigError with `key` and `value`.
    """
    try:
        return function(*arguments)
    except AsvpError:
        raise
    except Exception as error:
        raise ConfigError(
            f"ended with {type(error).__name__}: {error}",
            key=key,
            value=value,
            mend=f"It was raised by {function.__module__}, which is no part of asvp",
        ) from error


def with_plugins(own: Mapping[str, Thing], group: str, load: Callable[[str], Thing]) -> dict[str, Thing]:
    """What is known by name: asvp's own, then what other packages add.

    One that cannot be loaded, or has the name of one of asvp's own, is left out with a warning in the log, so that a
    broken package stops only its own users.
    """
    known, log = dict(own), logging.getLogger("asvp")
    for name in plugins(group):
        if name in own:
            log.warning("%s: %s of %s is not used, since asvp has its own", group, name, origin(group, name))
            continue
        try:
            known[name] = load(name)
        except AsvpError as error:
            log.warning("%s", error)
    return known
