"""From YAML files and `-s key=value` to one nested mapping."""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import yaml

from asvp.errors import ConfigError, did_you_mean

YAML_ERRORS = (yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError)
"""What reading YAML raises: its own errors, and those of the values in it (no date, a number of 5,000 digits)."""

Kind = Literal["text", "text or null", "word", "word or null", "value"]
"""What an option takes; a word is one of a few, so that blanks around it mean nothing."""

_MOST_VALUES = 1_000_000
_UNDER_WAY = -1
_MOST_PARTS = 32
"""Of a key, with dots between."""
_QUOTES = ("'", '"')
_NULLS = ("", "null", "Null", "NULL", "~")
_DECIMAL = re.compile(r"[-+]?[0-9][0-9_]*")
_TIME = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_PLAIN_TAGS = tuple(f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "int", "float"))


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


def parse_override(text: str, kind: Callable[[Sequence[str]], Kind] = lambda path: "value") -> dict[str, Any]:
    """Turn `a.b=1` into {"a": {"b": 1}}.

    Parameters
    ----------
    text : str
    kind : callable
        Given the parts of the key, what the option takes: "text" is kept as it was typed, unless all of it is quoted as
        in YAML; of "text or null" only the word null (or nothing at all) is not text; a "word" is stripped of blanks;
        any other "value" is read as YAML.

    Raises
    ------
    ConfigError
        If there is no equals sign, a part of the key is empty, or the value is no YAML.
    """
    if not isinstance(text, str):
        raise ConfigError("is no text of the form key=value", key="-s", value=text, mend="Write data.limit=8000")
    key, equals, value = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts) or len(parts) > _MOST_PARTS:
        raise ConfigError(
            "is not of the form key=value", key="-s", value=text, mend="Write for example -s data.limit=8000"
        )
    if key[-1].isspace():
        # Who writes `key = value` means the blank before the value as little as the one after the key.
        value = value.removeprefix(" ")
    nested = _read_override(".".join(parts), value, kind(parts))
    for part in reversed(parts):
        nested = {part: nested}
    override: dict[str, Any] = nested
    return override


def _read_override(key: str, value: str, kind: Kind) -> Any:
    if kind != "value":
        if kind.endswith("or null") and value.strip() in _NULLS:
            return None
        return _unquoted(value.strip() if kind.startswith("word") else value)
    try:
        return read_value(value)
    except YAML_ERRORS:
        raise ConfigError("the value is no YAML", key=key, value=value, mend="Write a list as [1, 2]") from None


def _unquoted(text: str) -> str:
    """What a text says that YAML would quote as a whole; any other is what was typed."""
    stripped = text.strip()
    if stripped[:1] not in _QUOTES:
        return text
    try:
        node = yaml.compose(stripped, Loader=_Loader)
    except YAML_ERRORS:
        return text
    if not isinstance(node, yaml.ScalarNode) or node.end_mark.index < len(stripped):
        return text
    return str(node.value)


def read_value(text: str) -> Any:
    """Read a value that was typed: YAML, but nothing of it is dropped, and what is no number, word or list is text.

    Comments, `key: value` without braces, dates, times as numbers (1:30) and tags are text here, and 010 is ten.

    Raises
    ------
    yaml.YAMLError, ValueError
        If it begins as a list, a mapping or a quoted text, and is none.
    """
    stripped = text.strip()
    if stripped[:1] in ("[", "{", *_QUOTES):
        node = yaml.compose(stripped, Loader=_Loader)
        if node is None or node.end_mark.index < len(stripped):
            raise ValueError("something follows the value")
        return read_scalar(stripped)
    if _DECIMAL.fullmatch(stripped):
        return int(stripped)
    tag = _Loader.yaml_implicit_tag(stripped)
    return read_scalar(stripped) if tag in _PLAIN_TAGS and not _TIME.fullmatch(stripped) else text


def read_scalar(text: str) -> Any:
    """Read YAML, with 2e-4 a number too (plain YAML 1.1 wants 2.0e-4) and no key twice.

    Raises
    ------
    yaml.YAMLError, ValueError, TypeError, OverflowError, RecursionError
        If it is none, or its aliases make it hold itself, or more than anybody writes; `YAML_ERRORS` are these.
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _require_size(node, {})
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _require_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """How many values a node holds where aliases are written out; a ValueError for too many, and for one in itself."""
    size = sizes.get(id(node))
    if size == _UNDER_WAY:
        raise ValueError("holds itself, by an alias")
    if size is None:
        sizes[id(node)] = _UNDER_WAY
        below = node.value if isinstance(node, yaml.CollectionNode) else []
        inner = chain.from_iterable(below) if isinstance(node, yaml.MappingNode) else below
        size = sizes[id(node)] = 1 + sum(_require_size(one, sizes) for one in inner)
    if size > _MOST_VALUES:
        raise ValueError(f"holds more than {_MOST_VALUES:,} values, its aliases written out")
    return size


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
    path = existing_file(path_or_name)
    if path_or_name in known:
        text = known[path_or_name]
    elif path is not None:
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"cannot be read: {error}", key=what, value=path_or_name, mend="Give a readable file in UTF-8"
            ) from None
    else:
        raise ConfigError(
            "is neither a file nor a preset",
            key=what,
            value=path_or_name,
            mend=f"{did_you_mean(path_or_name, known)}Presets: {', '.join(known) or 'none'}",
        )
    try:
        raw = read_scalar(text)
    except YAML_ERRORS as error:
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


def existing_file(name: str) -> Path | None:
    """The file of a name, ~ understood; None where there is none, or the name can be no file's."""
    try:
        path = Path(name).expanduser()
        return path if path.is_file() else None
    except (OSError, RuntimeError, ValueError):
        return None


class _Loader(yaml.SafeLoader):
    """YAML 1.1 with the floats of YAML 1.2, and an error for a key that is given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key.value, Hashable) and key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key.value} is given twice", problem_mark=key.start_mark
                )
            # A merge key (<<) may be repeated: it is not a key of the mapping.
            if key.tag != "tag:yaml.org,2002:merge" and isinstance(key.value, Hashable):
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)

    @classmethod
    def yaml_implicit_tag(cls, text: str) -> str | None:
        """The tag that YAML gives to a plain text, None where that is a string."""
        resolvers = cls.yaml_implicit_resolvers
        candidates = [*resolvers.get(text[:1], []), *resolvers.get(None, [])]
        return next((tag for tag, pattern in candidates if pattern.match(text)), None)


# A date would be an object that neither JSON nor an option knows; it is text.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    list("-+0123456789"),
)
