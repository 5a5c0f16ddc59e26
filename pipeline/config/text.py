"""From YAML files and `-s key=value` to one nested mapping."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import yaml

from asvp.errors import ConfigError


def merge(base: Mapping[str, Any], *changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `base` in which nested mappings take the values of `changes`."""
    merged = {key: merge(value) if isinstance(value, Mapping) else value for key, value in base.items()}
    for change in changes:
        for key, value in change.items():
            below = merged.get(key)
            if isinstance(value, Mapping) and isinstance(below, Mapping):
                merged[key] = merge(below, value)
            else:
                merged[key] = merge(value) if isinstance(value, Mapping) else value
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """Turn `a.b=1` into {"a": {"b": 1}}.

    Raises
    ------
    ConfigError
        If there is no equals sign, a part of the key is empty, or the value is no YAML.
    """
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(
            "is not of the form key=value", key="-s", value=text, mend="Write for example -s data.limit=8000"
        )
    try:
        nested = read_scalar(value)
    except yaml.YAMLError:
        raise ConfigError(
            "the value is no YAML", key=".".join(parts), value=value, mend="Quote it, or write a list as [1, 2]"
        ) from None
    for part in reversed(parts):
        nested = {part: nested}
    override: dict[str, Any] = nested
    return override


def read_scalar(text: str) -> Any:
    """Read YAML, with 2e-4 a number too (plain YAML 1.1 wants 2.0e-4) and no key twice."""
    return yaml.load(text, Loader=_Loader)


def read_mapping(path_or_name: str, known: Mapping[str, str], *, what: str) -> dict[str, Any]:
    """The YAML mapping of a file, or of one of the texts known by name.

    Parameters
    ----------
    path_or_name : str
        A name in `known`, which goes first, or the path of a YAML file.
    known : mapping of str to str
        Names and YAML texts.
    what : str
        What the user calls the thing that is read; the key of the errors.

    Raises
    ------
    ConfigError
        If there is neither, or it holds no mapping.
    """
    path = Path(path_or_name).expanduser()
    if path_or_name in known:
        text = known[path_or_name]
    elif path.is_file():
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot be read: {error}", key=what, value=path_or_name, mend="Give a readable file in UTF-8"
            ) from None
    else:
        near = difflib.get_close_matches(path_or_name, known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise ConfigError(
            "is neither a file nor a preset",
            key=what,
            value=path_or_name,
            mend=f"{hint}Presets: {', '.join(known) or 'none'}",
        )
    try:
        raw = read_scalar(text)
    except yaml.YAMLError as error:
        raise ConfigError(
            f"is no YAML: {' '.join(str(error).split())}", key=what, value=path_or_name, mend="Mend that line"
        ) from None
    if raw is None:
        return {}
    if not isinstance(raw, dict):
        raise ConfigError(
            "holds no mapping of keys to values", key=what, value=path_or_name, mend="Write lines such as seed: 0"
        )
    return raw


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with the floats of YAML 1.2, and an error for a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value} is given twice", problem_mark=key.start_mark
                )
            # A merge key (<<) may be repeated: it is not a key of the mapping.
            if key.tag != "tag:yaml.org,2002:merge":
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
