"""Arms with axes made arms without: every point of the grids, with every sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import prod
from typing import Any, get_args, get_origin

import numpy as np
from pydantic import BaseModel

from asvp.config import Config, merge
from asvp.errors import AsvpError, ConfigError
from asvp.seeds import derive_seed
from asvp.tune_spaces.axes import Axis, Choice, Grid, Range, Sampled, Value, as_axis, meant_axis
from asvp.tune_spaces.naming import Path, joined, part, short_keys

Point = Mapping[Path, Value]
"""A value for each axis of an arm."""

_MOST_POINTS = 10_000
"""Of one arm: a trial of a second would take hours for them all."""
_FRACTIONS = {"float", "Any"}


@dataclass(frozen=True)
class Candidate:
    """An arm at one point of its axes.

    Attributes
    ----------
    arm : str
        As the space names it.
    parts : mapping of key to str
        What each axis's value is called.
    changes : mapping
        What it changes in the configuration.
    """

    arm: str
    parts: Mapping[Path, str]
    changes: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Of all its values."""
        return joined(self.arm, list(self.parts.values()))


@dataclass(frozen=True)
class Arm:
    """An arm before its axes are given values.

    Attributes
    ----------
    name : str
    fixed : mapping
        What it changes at every point.
    axes : mapping of key to Axis
        In the order that names and points take.
    """

    name: str
    fixed: Mapping[str, Any]
    axes: Mapping[Path, Axis]

    def at(self, point: Point) -> Candidate:
        """The arm with a value for each axis."""
        keys = short_keys(list(point))
        parts = {
            path: part(keys[path], value.value) if value.name is None else part("", value.name)
            for path, value in point.items()
        }
        return Candidate(
            self.name, parts, merge(self.fixed, *(_nested(path, one.value) for path, one in point.items()))
        )


def arms_with_axes(arms: Mapping[str, Mapping[str, Any]], shared: Mapping[str, Any]) -> list[Arm]:
    """What varies in each arm: its own axes, and those of the space whose key it does not give itself.

    Parameters
    ----------
    arms : mapping of str to mapping
        Axes may be in place of any value.
    shared : mapping of str to Axis
        By dotted key.

    Raises
    ------
    ConfigError
        If an axis is not understood; the message names key and arm.
    """
    of_all: dict[Path, Axis] = {}
    for key, written in shared.items():
        axis = as_axis(written)
        if axis is None:
            near = meant_axis(written)
            raise ConfigError(
                "is no axis",
                key=f"axes.{key}",
                value=written,
                mend=f"{f'Did you mean {near}? ' if near else ''}Write for example {{grid: [1, 2]}}",
            )
        of_all[tuple(str(key).split("."))] = axis
    found = []
    for name, changes in arms.items():
        try:
            own = dict(_axes_in(changes, ()))
        except ConfigError as error:
            raise in_arm(error, name) from None
        fixed = _without_axes(changes)
        left = {path: axis for path, axis in of_all.items() if path not in own and not _gives(fixed, path)}
        found.append(Arm(name, fixed, {**own, **left}))
    return found


def points(arm: Arm, samples: int | None) -> Iterator[Point]:
    """Every point of an arm's grids, with as many samples of its other axes.

    A sample's values depend on key and number alone, so all arms that share an axis are given the same ones.

    Raises
    ------
    ConfigError
        If there are sampled axes and nobody says how many samples, or if there are more points than anybody runs.
    """
    grids = {path: axis.values for path, axis in arm.axes.items() if isinstance(axis, Grid)}
    sampled = {path: axis for path, axis in arm.axes.items() if isinstance(axis, Sampled)}
    if sampled and samples is None:
        raise ConfigError(
            f"is drawn at random, and the space does not say how often (in arm {arm.name or 'base'})",
            key=".".join(next(iter(sampled))),
            mend="Give the space samples, for example samples: 8",
        )
    count = prod(len(values) for values in grids.values()) * ((samples or 1) if sampled else 1)
    if count > _MOST_POINTS:
        raise ConfigError(
            f"{count:,} points are too many (in arm {arm.name or 'base'})",
            key="axes",
            mend=f"Leave values out until there are at most {_MOST_POINTS:,}, or draw some: --search random",
        )
    for values in product(*grids.values()):
        chosen = dict(zip(grids, values, strict=True))
        for number in range((samples or 1) if sampled else 1):
            values_drawn = {path: drawn(path, axis, number) for path, axis in sampled.items()}
            yield {path: {**chosen, **values_drawn}[path] for path in arm.axes}


def in_arm(error: AsvpError, arm: str) -> AsvpError:
    """The same error, which names the arm."""
    told = f"{error.message} (in arm {arm or 'base'})"
    return type(error)(told, key=error.key, value=error.value, mend=error.mend)


def drawn(path: Path, axis: Axis, number: int) -> Value:
    """The value of an axis in a sample, which depends on key and number alone; a grid's is drawn like a choice's."""
    generator = np.random.default_rng(derive_seed(0, ".".join(path), number))
    sampled = Choice(axis.values) if isinstance(axis, Grid) else axis
    return sampled.draw(generator, whole=isinstance(axis, Range) and is_whole(path, axis))


def is_whole(path: Path, axis: Range) -> bool:
    """Whether an option is to be given whole numbers; what a strategy's own takes is told by the bounds."""
    kind = _kind_at(path)
    names = str(kind)
    takes_any = kind is None or kind is dict or get_origin(kind) is dict
    whole_bounds = isinstance(axis.low, int) and isinstance(axis.high, int)
    return whole_bounds if takes_any else not any(name in names for name in _FRACTIONS)


def _kind_at(path: Path) -> Any:
    """What the option at a key, or the mapping it is in, is declared to be; None for a section or an unknown key."""
    model: type[BaseModel] = Config
    for name in path:
        field = model.model_fields.get(name)
        if field is None:
            return None
        kind = field.annotation
        if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
            return kind
        model = kind
    return None


def _axes_in(changes: Any, path: Path) -> Iterator[tuple[Path, Axis]]:
    if not isinstance(changes, Mapping):
        return
    for name, value in changes.items():
        here = (*path, str(name))
        try:
            axis = as_axis(value)
        except ConfigError as error:
            raise ConfigError(error.message, key=".".join(here), value=error.value, mend=error.mend) from None
        if axis is not None:
            yield here, axis
            continue
        near, kind = meant_axis(value), _kind_at(here)
        if near and kind is not None and dict not in (kind, get_origin(kind), *map(get_origin, get_args(kind))):
            raise ConfigError(
                "is neither a value nor an axis", key=".".join(here), value=value, mend=f"Did you mean {near}?"
            )
        yield from _axes_in(value, here)


def _without_axes(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: _without_axes(value) if isinstance(value, Mapping) else value
        for name, value in changes.items()
        if as_axis(value) is None
    }


def _gives(changes: Mapping[str, Any], path: Path) -> bool:
    """Whether changes give the option at a key a value, or the section it is in."""
    found: Any = changes
    for name in path:
        if not isinstance(found, Mapping):
            return True
        if name not in found:
            return False
        found = found[name]
    return not isinstance(found, Mapping)


def _nested(path: Path, value: Any) -> dict[str, Any]:
    for name in reversed(path):
        value = {name: value}
    nested: dict[str, Any] = value
    return nested
