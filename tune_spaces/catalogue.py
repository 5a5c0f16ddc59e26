"""Spaces found: ready ones, Python and YAML files, and those of other packages."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from asvp.config import Config
from asvp.config.text import existing_file, read_mapping
from asvp.errors import ConfigError, did_you_mean
from asvp.plugins import SPACES, call_plugin, is_import_path, load_plugin, origin, with_plugins
from asvp.tune_spaces.space import Space, check_seeds, check_space

_READY = "asvp.tune_spaces.ready"
_KEYS = ("question", "arms", "axes", "samples", "seeds")


def spaces() -> dict[str, str]:
    """Names of the ready spaces, those of installed packages too, and what question each answers.

    One that cannot be loaded is left out with a warning in the log.
    """
    own = {name: _first_line(_own_space(name).__doc__) for name in _own_spaces()}
    return with_plugins(own, SPACES, _question_of_another_package)


def question(name_or_path: str) -> str:
    """What a space answers, as `spaces` tells it or a file says; nothing where nobody does."""
    known = spaces()
    if name_or_path in known or existing_file(name_or_path) is None:
        return known.get(name_or_path, "")
    if _is_python(name_or_path):
        return _first_line(_module_of(name_or_path).__doc__)
    return str(read_mapping(name_or_path, {}, what="SPACE").get("question", ""))


def space_name(name_or_path: str) -> str:
    """What a sweep of a space may be called as a folder."""
    if is_import_path(name_or_path):
        return name_or_path.replace(":", ".")
    return Path(name_or_path).stem.replace(":", ".")


def default_directory(space: str | Space) -> Path:
    """A new folder under sweeps/, named after the time and the space."""
    name = space_name(space) if isinstance(space, str) else "sweep"
    return Path("sweeps") / f"{time.strftime('%Y%m%d-%H%M%S')}-{name}"


def load_space(name_or_path: str, config: Config) -> Space:
    """A space by the name of a ready one, from a file, by an entry point's name or by an import path.

    What is named first goes first, so that another package takes the place of no ready one and of no file. A file that
    ends in .py holds a function `space(config)`, any other is YAML. Behind an entry point or an import path such as
    `mypackage.mine:space` lies a `Space`, or a function that makes one of the configuration that all arms share.

    Raises
    ------
    ConfigError
        If there is none, or it is not understood.
    """
    if name_or_path in _own_spaces():
        found: Space = _own_space(name_or_path).space(config)
        return found
    if existing_file(name_or_path) is not None and _is_python(name_or_path):
        return _of_module(_module_of(name_or_path), config, name_or_path)
    if existing_file(name_or_path) is not None:
        return _written(read_mapping(name_or_path, {}, what="SPACE"), f"{name_or_path}: ")
    foreign = load_plugin(SPACES, name_or_path, key="SPACE")
    if foreign is not None:
        return _made_by_another_package(foreign, config, name_or_path)
    known = spaces()
    raise ConfigError(
        "is neither a search space nor a file",
        key="SPACE",
        value=name_or_path,
        mend=f"{did_you_mean(name_or_path, known)}Spaces: {', '.join(known)}",
    )


def _is_python(path: str) -> bool:
    return Path(path).suffix == ".py"


def _module_of(path: str) -> ModuleType:
    """A Python file, imported by itself; a ConfigError with whatever goes wrong in it."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, existing_file(path))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        # Whatever somebody's code raises when it is imported.
        raise ConfigError(f"cannot be imported: {type(error).__name__}: {error}", key="SPACE", value=path) from error
    return module


def _of_module(module: ModuleType, config: Config, path: str) -> Space:
    make = getattr(module, "space", None)
    if not callable(make):
        raise ConfigError(
            "has no function space(config)", key="SPACE", value=path, mend="Define one that returns a Space"
        )
    return _made_by_another_package(make, config, path)


def _own_spaces() -> list[str]:
    return sorted(info.name for info in pkgutil.iter_modules(importlib.import_module(_READY).__path__))


def _own_space(name: str) -> ModuleType:
    return importlib.import_module(f"{_READY}.{name}")


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _question_of_another_package(name: str) -> str:
    """The first line of a function's docstring; of a ready `Space`, its arms."""
    made = load_plugin(SPACES, name, key=SPACES)
    told = ", ".join(made.arms) if isinstance(made, Space) else _first_line(made.__doc__)
    return f"{told} (added by {origin(SPACES, name)})".lstrip()


def _made_by_another_package(foreign: Any, config: Config, name: str) -> Space:
    """A space that a package gives or makes, held to what is asked of a YAML file."""
    made = call_plugin(foreign, config, key="SPACE", value=name) if callable(foreign) else foreign
    if not isinstance(made, Space):
        raise ConfigError(
            f"gives a {type(made).__name__}, not a Space",
            key="SPACE",
            value=name,
            mend="Name a Space or a function (config) -> Space; docs/extending.md shows one",
        )
    _require_sound(made, f"{name}: ")
    return made


def _written(raw: Mapping[str, Any], place: str) -> Space:
    unknown = sorted(set(raw) - set(_KEYS), key=str)
    if unknown:
        hint = did_you_mean(unknown[0], _KEYS)
        raise ConfigError("is an unknown key", key=f"{place}{unknown[0]}", mend=f"{hint}A space has {', '.join(_KEYS)}")
    space = Space(raw.get("arms", {}), raw.get("seeds", [0]), raw.get("axes", {}), raw.get("samples"))
    _require_sound(space, place)
    return space


def _require_sound(space: Space, place: str) -> None:
    check_space(space, place)
    check_seeds(space.seeds, f"{place}seeds")
