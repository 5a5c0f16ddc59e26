"""What a sweep compares: arms, each with the same seeds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from numbers import Integral
from typing import Any

from asvp.config import Config, build_config
from asvp.config.text import merge
from asvp.errors import AsvpError, ConfigError
from asvp.report.status import Planned
from asvp.tune_spaces.axes import Axis
from asvp.tune_spaces.behaviour import behaviour
from asvp.tune_spaces.expansion import Arm, Candidate, arms_with_axes, in_arm, points
from asvp.tune_spaces.naming import joined, require_name, unique


@dataclass(frozen=True)
class Space:
    """Arms and seeds, and axes that are crossed with the arms.

    Attributes
    ----------
    arms : mapping of str to mapping
        What each arm changes in the configuration, nested like it. In place of any value there may be an axis, which is
        this arm's alone; without arms, the axes make them all.
    seeds : sequence of int
    axes : mapping of str to Axis
        By dotted key; for every arm that does not give that key itself.
    samples : int, optional
        How many values each `choice`, `uniform` and `loguniform` is given.
    """

    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    seeds: Sequence[int] = (0, 1)
    axes: Mapping[str, Axis | Mapping[str, Any]] = field(default_factory=dict)
    samples: int | None = None


@dataclass(frozen=True)
class Trial:
    """One arm with one seed, and what the arm changes."""

    arm: str
    seed: int
    config: Config
    changes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Of the trial's run directory."""
        return f"{self.arm}-seed{self.seed}"

    @property
    def planned(self) -> Planned:
        """The trial before it begins, for whoever asks how its sweep stands."""
        return Planned(self.name, self.arm, self.seed, tuple(self.config.budget))

    @contextmanager
    def named(self) -> Iterator[None]:
        """Have errors in the block name the arm, where it has changed what is at fault."""
        try:
            yield
        except AsvpError as error:
            if not self.is_at_fault(error):
                raise
            raise in_arm(error, self.arm) from None

    def is_at_fault(self, error: AsvpError) -> bool:
        """Whether an error names something that the arm changes."""
        return (error.key or "").partition(".")[0] in self.changes


@dataclass(frozen=True)
class ChosenArm:
    """An arm whose axes have values.

    Attributes
    ----------
    changes : mapping
        In the configuration that all arms share.
    config : Config
        With the shared configuration's seed.
    same : tuple of str
        Other names of it: arms, or points of axes, that come to the same.
    """

    changes: Mapping[str, Any]
    config: Config
    same: tuple[str, ...] = ()


def varying_arms(space: Space) -> list[Arm]:
    """The arms of a space before their axes are given values; without arms, the one that the axes vary.

    Raises
    ------
    ConfigError
        If arms or axes are not what they should be.
    """
    check_space(space)
    return arms_with_axes(space.arms or {"": {}}, space.axes)


def chosen_arms(space: Space, base: Mapping[str, Any]) -> dict[str, ChosenArm]:
    """All arms by name, their axes given values; those that come to the same are one.

    The name has the values of those axes alone that make a difference; `asvp.tune_spaces.behaviour` tells which do.

    Parameters
    ----------
    space : Space
    base : mapping
        The configuration that all arms share.

    Raises
    ------
    ConfigError, SelectionError
        If an arm makes a configuration that cannot be, or a name is none; the message names the arm.
    """
    alike: dict[Hashable, list[tuple[Candidate, Config]]] = {}
    for arm in varying_arms(space):
        for candidate in (arm.at(point) for point in points(arm, space.samples)):
            config, comes_to = configured(base, candidate)
            alike.setdefault(comes_to, []).append((candidate, config))
    found: dict[str, ChosenArm] = {}
    for group in alike.values():
        first, config = group[0]
        name = unique(_common_name([candidate for candidate, _ in group]), set(found))
        others = tuple(one.name for one, _ in group if one.name != name) if len(group) > 1 else ()
        found[name] = ChosenArm(first.changes, config, others)
    return found


def configured(base: Mapping[str, Any], candidate: Candidate) -> tuple[Config, Hashable]:
    """The configuration that a candidate makes, and what it comes to (`asvp.tune_spaces.behaviour`).

    Raises
    ------
    ConfigError, SelectionError
        If it makes one that cannot be; the message names the arm.
    """
    try:
        config = build_config(merge(_shared(base, candidate.changes), candidate.changes))
        return config, behaviour(config)
    except AsvpError as error:
        raise in_arm(error, candidate.name) from None


def trials(
    space: Space,
    base: Mapping[str, Any],
    seeds: Sequence[int] | None = None,
    say: Callable[[str], None] | None = None,
) -> Iterator[Trial]:
    """Every arm with every seed, seeds in turn, so that all arms of a seed are finished first.

    Parameters
    ----------
    space : Space
    base : mapping
        The configuration that all arms share.
    seeds : sequence of int, optional
        Instead of the space's own.
    say : callable, optional
        Told of arms that are one.

    Raises
    ------
    ConfigError, SelectionError
        If an arm makes a configuration that cannot be, which the message names, or names or seeds are none.
    """
    arms = chosen_arms(space, base)
    if say is not None:
        for line in told_same(arms):
            say(line)
    yield from with_seeds(arms, space.seeds if seeds is None else seeds)


def with_seeds(arms: Mapping[str, ChosenArm], seeds: Sequence[int]) -> Iterator[Trial]:
    """Every arm with every seed, seeds in turn.

    Raises
    ------
    ConfigError
        If the seeds are none.
    """
    check_seeds(seeds, "seeds")
    for seed in seeds:
        for name, arm in arms.items():
            yield Trial(name, int(seed), arm.config.model_copy(update={"seed": int(seed)}), arm.changes)


def told_same(arms: Mapping[str, ChosenArm]) -> list[str]:
    """A line for each arm that stands for others, of which a few are named."""
    lines = []
    for name, arm in arms.items():
        if arm.same:
            more = f" and {len(arm.same) - _NAMED} more" if len(arm.same) > _NAMED else ""
            lines.append(f"Arm {name} stands for {', '.join(arm.same[:_NAMED])}{more}: they come to the same")
    return lines


_NAMED = 3


def check_space(space: Space, place: str = "") -> None:
    """Raise a ConfigError unless arms, axes, seeds and samples are what they should be.

    Parameters
    ----------
    space : Space
        Made by anybody of anything.
    place : str
        Put before keys in messages: the file.
    """
    if not isinstance(space.axes, Mapping) or not all(isinstance(key, str) and key for key in space.axes):
        raise ConfigError(
            "is not a mapping of keys to axes",
            key=f"{place}axes",
            value=space.axes,
            mend="Write axes: {refresh.every: {grid: [1, 2]}}",
        )
    _check_arms(space.arms, f"{place}arms", needed=not space.axes)
    for holder, keys in (("axes", space.axes), *((f"arms.{name}", changes) for name, changes in space.arms.items())):
        if "seed" in keys:
            raise ConfigError("is given to all arms alike", key=f"{place}{holder}.seed", mend="Write seeds: [0, 1]")
    if space.samples is not None and (type(space.samples) is not int or space.samples < 1):
        raise ConfigError("is no number from 1", key=f"{place}samples", value=space.samples)


def _common_name(alike: Sequence[Candidate]) -> str:
    """The first one's arm, with those of its values that are the same wherever the arm comes to the same."""
    first = alike[0]
    own = [one for one in alike if one.arm == first.arm]
    return joined(
        first.arm, [told for path, told in first.parts.items() if all(one.parts[path] == told for one in own)]
    )


def _shared(base: Mapping[str, Any], changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """What an arm changes: the base, without the options of its strategy where the arm names another one."""
    selection, changed = base.get("selection", {}), changes.get("selection", {})
    if not isinstance(changed, Mapping) or changed.get("strategy") in (None, selection.get("strategy")):
        return base
    return {**base, "selection": {**selection, "options": {}}}


def _check_arms(arms: Any, key: str, *, needed: bool) -> None:
    if not isinstance(arms, Mapping) or (needed and not arms):
        raise ConfigError(
            "is not a mapping of names to changes", key=key, value=arms, mend="Write arms: {svp: {mode: svp}}"
        )
    for name, changes in arms.items():
        require_name(name, key)
        if not isinstance(changes, Mapping):
            raise ConfigError("is not a mapping of keys to values", key=f"{key}.{name}", value=changes)


def check_seeds(seeds: Any, key: str) -> None:
    """Raise a ConfigError unless seeds are different whole numbers from 0."""
    listed = isinstance(seeds, Iterable) and not isinstance(seeds, (str, bytes, Mapping))
    numbers = list(seeds) if listed else []
    if not numbers or not all(
        isinstance(seed, Integral) and not isinstance(seed, bool) and 0 <= int(seed) < 2**32 for seed in numbers
    ):
        raise ConfigError("is not a list of whole numbers", key=key, value=seeds, mend="Write seeds: [0, 1]")
    if len({int(seed) for seed in numbers}) < len(numbers):
        raise ConfigError("names a seed twice", key=key, value=seeds)
