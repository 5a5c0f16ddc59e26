"""What a sweep compares: arms, each with the same seeds."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from types import ModuleType
from typing import Any

from asvp.config import Config, build_config
from asvp.config.text import existing_file, merge, read_mapping
from asvp.errors import ConfigError
from asvp.plugins import SPACES, call_plugin, is_import_path, load_plugin, origin, with_plugins

_NAME = re.compile(r"[\w.+-]+")
_LONGEST_NAME = 200
_NO_SPACES = {"live", "result", "space", "sweep", "trainable", "tuning"}


@dataclass(frozen=True)
class Space:
    """Arms and seeds.

    Attributes
    ----------
    arms : mapping of str to mapping
        What each arm changes in the configuration, nested like it.
    seeds : sequence of int
    """

    arms: Mapping[str, Mapping[str, Any]]
    seeds: Sequence[int] = (0, 1)


@dataclass(frozen=True)
class Trial:
    """One arm with one seed."""

    arm: str
    seed: int
    config: Config

    @property
    def name(self) -> str:
        """Of the trial's run directory."""
        return f"{self.arm}-seed{self.seed}"


def spaces() -> dict[str, str]:
    """Names of the ready spaces, those of installed packages too, and what question each answers.

    One that cannot be loaded is left out with a warning in the log.
    """
    own = {name: _first_line(_own_space(name).__doc__) for name in _own_spaces()}
    return with_plugins(own, SPACES, _question_of_another_package)


def _own_spaces() -> list[str]:
    here = [str(Path(__file__).parent)]
    return sorted(info.name for info in pkgutil.iter_modules(here) if info.name not in _NO_SPACES)


def _own_space(name: str) -> ModuleType:
    return importlib.import_module(f"asvp.tune_spaces.{name}")


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]


def _question_of_another_package(name: str) -> str:
    """The first line of a function's docstring; of a ready `Space`, its arms."""
    made = load_plugin(SPACES, name, key=SPACES)
    question = ", ".join(made.arms) if isinstance(made, Space) else _first_line(made.__doc__)
    return f"{question} (added by {origin(SPACES, name)})".lstrip()


def space_name(name_or_path: str) -> str:
    """What a sweep of a space may be called as a folder."""
    if is_import_path(name_or_path):
        return name_or_path.replace(":", ".")
    return Path(name_or_path).stem.replace(":", ".")


def load_space(name_or_path: str, config: Config) -> Space:
    """A space by its module's name, from a YAML file with `arms` and `seeds`, by an entry point's name or import path.

    What is named first goes first, so that another package takes the place of no module here and of no file. Behind an
    entry point or an import path such as `mypackage.mine:space` lies a `Space`, or a function that makes one of the
    configuration that all arms share.

    Raises
    ------
    ConfigError
        If there is none, or it is not understood.
    """
    if name_or_path in _own_spaces():
        found: Space = _own_space(name_or_path).space(config)
        return found
    if existing_file(name_or_path) is not None:
        return _parse(read_mapping(name_or_path, {}, what="SPACE"), name_or_path)
    foreign = load_plugin(SPACES, name_or_path, key="SPACE")
    if foreign is not None:
        return _made_by_another_package(foreign, config, name_or_path)
    known = spaces()
    near = difflib.get_close_matches(name_or_path, known, n=1)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ConfigError(
        "is neither a search space nor a YAML file",
        key="SPACE",
        value=name_or_path,
        mend=f"{hint}Spaces: {', '.join(known)}",
    )


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
    return _parse({"arms": made.arms, "seeds": made.seeds}, name)


def trials(space: Space, base: Mapping[str, Any], seeds: Sequence[int] | None = None) -> Iterator[Trial]:
    """Every arm with every seed, seeds in turn, so that all arms of a seed are finished first.

    Raises
    ------
    ConfigError
        If an arm makes a configuration that cannot be, which the message names, or names or seeds are none.
    """
    _check_arms(space.arms, "arms")
    chosen = space.seeds if seeds is None else seeds
    _check_seeds(chosen, "seeds")
    for seed in chosen:
        for arm, changes in space.arms.items():
            try:
                yield Trial(arm, int(seed), build_config(merge(_shared(base, changes), changes, {"seed": int(seed)})))
            except ConfigError as error:
                raise ConfigError(
                    f"{error.message} (in arm {arm})", key=error.key, value=error.value, mend=error.mend
                ) from None


def _shared(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an arm changes: the base, without the options of its strategy where the arm names another one."""
    selection, changed = base.get("selection", {}), changes.get("selection", {})
    if not isinstance(changed, Mapping) or changed.get("strategy") in (None, selection.get("strategy")):
        return base
    return {**base, "selection": {**selection, "options": {}}}


def _check_arms(arms: Any, key: str) -> None:
    if not isinstance(arms, Mapping) or not arms:
        raise ConfigError(
            "is not a mapping of names to changes", key=key, value=arms, mend="Write arms: {svp: {mode: svp}}"
        )
    for name, changes in arms.items():
        # A name becomes that of a folder.
        if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name.encode()) > _LONGEST_NAME:
            raise ConfigError(
                f"is no name: letters, digits, and _.+- only, at most {_LONGEST_NAME} bytes", key=key, value=name
            )
        if not isinstance(changes, Mapping):
            raise ConfigError("is not a mapping of keys to values", key=f"{key}.{name}", value=changes)


def _check_seeds(seeds: Any, key: str) -> None:
    listed = isinstance(seeds, Iterable) and not isinstance(seeds, (str, bytes, Mapping))
    numbers = list(seeds) if listed else []
    if not numbers or not all(
        isinstance(seed, Integral) and not isinstance(seed, bool) and 0 <= int(seed) < 2**32 for seed in numbers
    ):
        raise ConfigError("is not a list of whole numbers", key=key, value=seeds, mend="Write seeds: [0, 1]")
    if len({int(seed) for seed in numbers}) < len(numbers):
        raise ConfigError("names a seed twice", key=key, value=seeds)


def _parse(raw: Mapping[str, Any], path: str) -> Space:
    unknown = sorted(set(raw) - {"arms", "seeds"})
    if unknown:
        raise ConfigError("is an unknown key", key=f"{path}: {unknown[0]}", mend="A space has arms and seeds")
    arms, seeds = raw.get("arms"), raw.get("seeds", [0])
    _check_arms(arms, f"{path}: arms")
    _check_seeds(seeds, f"{path}: seeds")
    return Space(raw["arms"], tuple(seeds))
