"""From a preset, a YAML file or a mapping, with overrides, to a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from types import NoneType
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError

from asvp.config.errors import config_error
from asvp.config.options import Config
from asvp.config.text import Kind, merge, parse_override, read_mapping
from asvp.errors import ConfigError


def presets() -> dict[str, str]:
    """Names and texts of the presets that come with the package."""
    # Not files("asvp.config.presets"), which would import that folder as a module in place of this function.
    folder = files("asvp.config").joinpath("presets")
    return {
        entry.name.removesuffix(".yaml"): entry.read_text(encoding="utf-8")
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".yaml")
    }


def load_config(path_or_name: str | Path | None = None, overrides: Iterable[str] = ()) -> Config:
    """Read a configuration from a YAML file or a preset and apply dotted overrides.

    Parameters
    ----------
    path_or_name : str or Path, optional
        A YAML file, or the name of a preset. None: the defaults.
    overrides : iterable of str
        `key=value` with a dotted key; where the option takes text it is taken as typed, unless all of it is quoted as
        in YAML; any other value is read as YAML.

    Raises
    ------
    ConfigError
        If the file is missing or is no YAML mapping, or a key or value is wrong.
    """
    if path_or_name is None:
        return build_config({}, overrides)
    if not isinstance(path_or_name, (str, Path)):
        raise ConfigError(
            "is neither a path nor a preset's name",
            key="config",
            value=path_or_name,
            mend="Make one of a mapping with asvp.config.build_config",
        )
    return build_config(read_mapping(str(path_or_name), presets(), what="config"), overrides)


def build_config(raw: Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
    """Validate a mapping with overrides applied; errors as in `load_config`."""
    if not isinstance(raw, Mapping):
        raise ConfigError("is no mapping of keys to values", key="config", value=raw)
    if isinstance(overrides, (str, bytes, Mapping)) or not isinstance(overrides, Iterable):
        raise ConfigError(
            "is no list of texts of the form key=value", key="overrides", value=overrides, mend='Write ["seed=1"]'
        )
    try:
        merged = merge(raw, *(parse_override(text, kind_of) for text in overrides))
        return Config.model_validate(merged)
    except ValidationError as error:
        raise config_error(error, Config) from None
    except RecursionError:
        raise ConfigError("holds itself", key="config", mend="Write it without a reference to itself") from None


def with_curves(config: Config) -> Config:
    """What a sweep makes of it: final models at several label counts, unless `training.evaluate_at` was given."""
    if "evaluate_at" in config.training.model_fields_set:
        return config
    return config.model_copy(update={"training": config.training.model_copy(update={"evaluate_at": "several"})})


def kind_of(path: Sequence[str]) -> Kind:
    """What the option at a dotted key takes; an unknown key takes a value, which is refused later."""
    section: type[BaseModel] = Config
    for number, part in enumerate(path, start=1):
        field = section.model_fields.get(part)
        if field is None:
            return "value"
        if number == len(path):
            return _kind(field.annotation)
        if not (isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)):
            return "value"
        section = field.annotation
    return "value"


def _kind(annotation: Any) -> Kind:
    members = [annotation] if get_origin(annotation) is Literal else list(get_args(annotation)) or [annotation]
    null = NoneType in members
    rest = [member for member in members if member is not NoneType]
    if rest == [str]:
        return "text or null" if null else "text"
    if all(get_origin(member) is Literal for member in rest):
        return "word or null" if null else "word"
    return "value"
