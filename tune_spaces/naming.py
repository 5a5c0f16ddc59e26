"""Names of arms made of the values on axes: short, readable, and those of folders."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from asvp.config.budget import format_budget, parse_budget
from asvp.errors import ConfigError

Path = tuple[str, ...]

LONGEST = 200
"""Bytes of an arm's name; a trial's folder adds the seed."""
_LONGEST_PART = 40
_NAME = re.compile(r"[\w.+-]+")
_OTHER = re.compile(r"[^\w.+-]+")
_BARE = ("auto", "last", "every", "null")
"""Words that say nothing without the option they are given to."""


def require_name(name: Any, key: str) -> None:
    """Raise a ConfigError unless something can be an arm's name, and so a folder's."""
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name.encode()) > LONGEST:
        raise ConfigError(f"is no name: letters, digits, and _.+- only, at most {LONGEST} bytes", key=key, value=name)


def short_keys(paths: Sequence[Path]) -> dict[Path, str]:
    """The last part of each key, and the part before it where that alone would not tell two of them apart."""
    leaves = Counter(path[-1] for path in paths)
    return {path: path[-1] if leaves[path[-1]] == 1 else ".".join(path[-2:]) for path in paths}


def part(key: str, value: Any) -> str:
    """What a value at a key is called: every_2, margin, 100+100x3, at_100+200."""
    if key == "budget":
        return _of_letters(_budget(value))
    if isinstance(value, Mapping):
        # An empty section says as much as no section.
        told = [part(str(inner), one) for inner, one in value.items() if one not in ({}, None)]
        return _of_letters("-".join(told) or f"{key}_none")
    if isinstance(value, str) and value not in _BARE:
        return _of_letters(value.rstrip("/").rpartition("/")[2] or value)
    if isinstance(value, (list, tuple)):
        return _of_letters(f"{key}_{'+'.join(_plain(one) for one in value) or 'none'}")
    return _of_letters(f"{key}_{_plain(value)}")


def joined(arm: str, parts: Sequence[str]) -> str:
    """An arm's own name, if it has one, and what its values are called."""
    return "-".join(one for one in (arm, *parts) if one) or "base"


def unique(name: str, taken: set[str]) -> str:
    """The name, or with a number where it is taken; not longer than a name may be."""
    cut = name.encode()[:LONGEST].decode(errors="ignore")
    number, found = 1, cut
    while found in taken:
        number += 1
        ending = f"-{number}"
        found = cut.encode()[: LONGEST - len(ending)].decode(errors="ignore") + ending
    return found


def settings_line(changes: Mapping[str, Any], path: str = "") -> str:
    """What an arm changes as `-s` takes it, without what it only sets to null: mode=asvp refresh.every=2."""
    told = []
    for key, value in changes.items():
        if isinstance(value, Mapping):
            told.append(settings_line(value, f"{path}{key}."))
        elif value is not None and value != []:
            shown = _budget(value) if key == "budget" else _typed(value)
            told.append(f"{path}{key}={shown}")
    return " ".join(one for one in told if one)


def _typed(value: Any) -> str:
    # Text needs no quotation marks, unless it begins with some of its own.
    plain = isinstance(value, str) and not value.lstrip().startswith(("'", '"'))
    return str(value) if plain else json.dumps(value, ensure_ascii=False)


def _budget(value: Any) -> str:
    try:
        return format_budget(parse_budget(value))
    except ValueError:
        # Whoever builds the configuration says what is wrong with it.
        return f"budget_{_plain(value)}"


def _plain(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        return "-".join(part(str(key), one) for key, one in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)


def _of_letters(text: str) -> str:
    return _OTHER.sub(".", text).strip(".")[:_LONGEST_PART] or "other"
