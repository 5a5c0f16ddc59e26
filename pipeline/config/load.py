"""From a preset, a YAML file or a mapping, with overrides, to a configuration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from asvp.config.errors import config_error
from asvp.config.options import Config
from asvp.config.text import merge, parse_override, read_mapping


def presets() -> dict[str, str]:
    """Names and texts of the presets that come with the package."""
    folder = files("asvp.config.presets")
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
        `key=value` with a dotted key; the value is read as YAML.

    Raises
    ------
    ConfigError
        If the file is missing or is no YAML mapping, or a key or value is wrong.
    """
    raw = {} if path_or_name is None else read_mapping(str(path_or_name), presets(), what="config")
    return build_config(raw, overrides)


def build_config(raw: Mapping[str, Any], overrides: Iterable[str] = ()) -> Config:
    """Validate a mapping with overrides applied; errors as in `load_config`."""
    merged = merge(raw, *(parse_override(text) for text in overrides))
    try:
        return Config.model_validate(merged)
    except ValidationError as error:
        raise config_error(error, Config) from None
