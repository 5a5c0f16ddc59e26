"""The findings of pydantic as one error in the words of the configuration."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from asvp.errors import ConfigError

RETIRED: Mapping[str, str] = {
    "extraction.actors": "is called workers.count now",
    "extraction.cpus_per_actor": "is called workers.cpus now",
    "extraction.gpus_per_actor": "is called workers.gpus now",
    "resources": "is gone: a trial holds nothing of its own, and workers.cpus and workers.gpus say what a worker holds",
}
"""Keys of earlier versions, and what became of them."""


def config_error(found: ValidationError, root: type[BaseModel]) -> ConfigError:
    """The first finding as an error that names the key, the value and the mend.

    Parameters
    ----------
    found : ValidationError
        What pydantic says about a mapping that is not a `root`.
    root : type of BaseModel
        The model of the whole configuration; its sections are models too.
    """
    errors = found.errors()
    first = errors[0]
    path = _names_along(root, first["loc"])
    if first["type"] == "extra_forbidden":
        return _unknown_key([str(part) for part in first["loc"]], first["input"], root)
    section = _section_at(root, path)
    if section is not None and first["type"] in ("model_type", "model_attributes_type"):
        return ConfigError(
            "is a section, not a value",
            key=".".join(path),
            value=first["input"],
            mend=f"Set keys in it, such as {'.'.join(path)}.{next(iter(section.model_fields))}, or leave it out",
        )
    if first["type"] == "value_error":
        return _own_words(path, first["msg"].removeprefix("Value error, "), first["input"], root)
    # A value that may be of several kinds has one finding for each kind.
    said = [error["msg"] for error in errors if _names_along(root, error["loc"]) == path]
    message = ", or ".join(dict.fromkeys(text[:1].lower() + text[1:] for text in said))
    return ConfigError(message, key=".".join(path) or "config", value=first["input"], mend=_meaning(root, path))


def _own_words(path: list[str], message: str, value: Any, root: type[BaseModel]) -> ConfigError:
    """An error raised by a validator: of one option, or of several, where the message begins with the key."""
    if isinstance(value, (dict, BaseModel)) and (not path or _section_at(root, path) is not None):
        key, _, message = message.partition(" ")
        return ConfigError(message, key=key)
    return ConfigError(message, key=".".join(path), value=value, mend=_meaning(root, path))


def _unknown_key(path: list[str], value: Any, root: type[BaseModel]) -> ConfigError:
    key = ".".join(path)
    if key in RETIRED:
        return ConfigError(RETIRED[key], key=key, value=value)
    section = _section_at(root, path[:-1])
    names = list(section.model_fields) if section is not None else []
    near = difflib.get_close_matches(path[-1], names, n=1)
    elsewhere = [
        f"{name}.{path[-1]}"
        for name in root.model_fields
        if (inner := _section_at(root, [name])) is not None and path[-1] in inner.model_fields
    ]
    if near:
        mend = f"Did you mean {'.'.join([*path[:-1], near[0]])}?"
    elif elsewhere:
        mend = f"Did you mean {' or '.join(elsewhere)}?"
    else:
        mend = f"Known here: {', '.join(names)}"
    return ConfigError("is an unknown key", key=key, value=value, mend=mend)


def _meaning(root: type[BaseModel], path: list[str]) -> str | None:
    """What the option at a path is for, from its description."""
    section = _section_at(root, path[:-1]) if path else None
    field = section.model_fields.get(path[-1]) if section is not None else None
    return f"Its meaning: {field.description}".removesuffix(".") if field is not None and field.description else None


def _names_along(root: type[BaseModel], location: Sequence[str | int]) -> list[str]:
    """The keys at the beginning of a location, without pydantic's names for kinds and positions."""
    names: list[str] = []
    section: type[BaseModel] | None = root
    for part in location:
        if section is None or part not in section.model_fields:
            break
        names.append(str(part))
        section = _section_at(root, names)
    return names or [str(part) for part in location]


def _section_at(root: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    section = root
    for part in path:
        field = section.model_fields.get(part)
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return None
        section = field.annotation
    return section
