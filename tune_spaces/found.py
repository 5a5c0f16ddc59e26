"""Arms found one after another, at points of their axes: those that come to the same once, each under one name."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from asvp.errors import AsvpError
from asvp.tune_spaces.axes import Axis, Range, Value
from asvp.tune_spaces.expansion import Arm, Candidate, Point
from asvp.tune_spaces.naming import Path, joined, unique
from asvp.tune_spaces.space import ChosenArm, configured


class FoundArms:
    """Arms in the order in which they were found.

    An arm's name has the values of those axes alone that make a difference, and does not depend on what is found later.

    Parameters
    ----------
    base : mapping
        The configuration that all arms share.

    Attributes
    ----------
    arms : dict of str to ChosenArm
        By name; `same` tells other names of what came to the same.
    """

    def __init__(self, base: Mapping[str, Any]) -> None:
        self.arms: dict[str, ChosenArm] = {}
        self._base = base
        self._names: dict[Hashable, str] = {}
        self._seen: dict[str, str] = {}

    def add(self, arm: Arm, point: Point, name: str | None = None) -> tuple[str, bool]:
        """An arm at a point of its axes: its name, and whether none that was found before comes to the same.

        Parameters
        ----------
        arm : Arm
        point : mapping of key to Value
        name : str, optional
            What it is called if it is new; None: after its values.

        Raises
        ------
        ConfigError, SelectionError
            If it makes a configuration that cannot be.
        """
        key = _key(arm, point)
        if self._seen.get(key):
            return self._seen[key], False
        self._seen[key] = ""
        candidate = arm.at(point)
        config, comes_to = configured(self._base, candidate)
        known = self._names.get(comes_to)
        if known is None:
            found = name or unique(self._name(arm, point, comes_to), set(self.arms))
            self._names[comes_to] = found
            self.arms[found] = ChosenArm(candidate.changes, config, _others(candidate, found))
        else:
            found, chosen = known, self.arms[known]
            others = (one for one in _others(candidate, found) if one not in chosen.same)
            self.arms[found] = replace(chosen, same=(*chosen.same, *others))
        self._seen[key] = found
        return found, known is None

    def seen(self, arm: Arm, point: Point) -> bool:
        """Whether this very point was added before, also one that could not be."""
        return _key(arm, point) in self._seen

    def _name(self, arm: Arm, point: Point, comes_to: Hashable) -> str:
        parts = arm.at(point).parts
        return joined(arm.name, [parts[path] for path in point if self._tells(arm, point, path, comes_to)])

    def _tells(self, arm: Arm, point: Point, path: Path, comes_to: Hashable) -> bool:
        """Whether another value of an axis would come to something else, all others as they are."""
        for value in _others_of(arm.axes[path], point[path]):
            try:
                _, other = configured(self._base, arm.at({**point, path: value}))
            except AsvpError:
                return True
            if other != comes_to:
                return True
        return False


def _others_of(axis: Axis, chosen: Value) -> Iterator[Value]:
    """Other values of an axis: all of a list, the bounds of a range."""
    values = [Value(None, axis.low), Value(None, axis.high)] if isinstance(axis, Range) else axis.values
    return (value for value in values if value != chosen)


def _others(candidate: Candidate, name: str) -> tuple[str, ...]:
    return () if candidate.name == name else (candidate.name,)


def _key(arm: Arm, point: Point) -> str:
    return f"{arm.name} {dict(point)!r}"
