"""Optuna's TPE, asked for arms with values for their axes and told what they reached."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from asvp.errors import ConfigError
from asvp.seeds import derive_seed
from asvp.tune_spaces.axes import Axis, Range, Value
from asvp.tune_spaces.expansion import Arm, Point, is_whole
from asvp.tune_spaces.naming import Path

Parameters = dict[str, str | int | float]
"""What Optuna calls an arm at a point of its axes."""

FIRST = 5
"""Arms that are suggested at random, before TPE has anything to go by."""
_ARM = "arm"


@dataclass(frozen=True)
class Suggestion:
    """An arm at a point of its axes, as Optuna suggested it.

    Attributes
    ----------
    number : int
        Of Optuna's trial, by which it is told what came of it.
    arm : Arm
    point : mapping of key to Value
    parameters : dict of str to str, int or float
        The same as Optuna keeps it.
    """

    number: int
    arm: Arm
    point: Point
    parameters: Parameters


class Tpe:
    """A study in memory. Which arm is one parameter, and the axes of that arm are the others.

    What is suggested depends on what was asked and told before, and on nothing else.

    Parameters
    ----------
    arms : sequence of Arm

    Raises
    ------
    ConfigError
        If Optuna is not installed.

    References
    ----------
    Bergstra, Bardenet, Bengio and Kegl 2011, Algorithms for hyper-parameter optimization, section 4.
    """

    def __init__(self, arms: Sequence[Arm]) -> None:
        self._optuna = _optuna()
        self._arms = {arm.name or "base": arm for arm in arms}
        self._study = self._optuna.create_study(direction="maximize")
        self._asked = 0

    def ask(self, parameters: Mapping[str, Any] | None = None) -> Suggestion:
        """An arm at a point of its axes.

        Parameters
        ----------
        parameters : mapping, optional
            What is to be suggested; None: what TPE likes.

        Raises
        ------
        ConfigError
            If the space holds no such parameters.
        """
        if parameters is not None:
            self._require_held(parameters)
            self._study.enqueue_trial(dict(parameters))
        # With a seed of its own for each, a study that was put together again goes on as if it had never ended.
        seed = derive_seed(0, "suggestion", self._asked) % 2**32
        self._study.sampler = self._optuna.samplers.TPESampler(seed=seed, n_startup_trials=FIRST)
        self._asked += 1
        trial = self._study.ask()
        arm = self._arms[trial.suggest_categorical(_ARM, list(self._arms))]
        point = {path: self._value(trial, arm, path) for path in arm.axes}
        return Suggestion(trial.number, arm, point, dict(trial.params))

    def tell(self, number: int, value: float | None) -> None:
        """What a suggestion reached; None: it failed."""
        if value is None:
            self._study.tell(number, state=self._optuna.trial.TrialState.FAIL)
        else:
            self._study.tell(number, value)

    def parameters(self, arm: Arm, point: Point) -> Parameters:
        """What Optuna calls an arm at a point of its axes."""
        told: Parameters = {_ARM: arm.name or "base"}
        for path, value in point.items():
            known = isinstance(arm.axes[path], Range)
            told[self._parameter(arm, path)] = value.value if known else _label(value)
        return told

    def _require_held(self, parameters: Mapping[str, Any]) -> None:
        arm = self._arms.get(parameters.get(_ARM, ""))
        axes = {} if arm is None else {self._parameter(arm, path): axis for path, axis in arm.axes.items()}
        if (
            arm is None
            or {_ARM, *axes} != set(parameters)
            or not all(_holds(axis, parameters[name]) for name, axis in axes.items())
        ):
            raise ConfigError(
                "was suggested before, and the space does not hold it any more",
                key="SPACE",
                value=dict(parameters),
                mend="Go on with the space that the sweep was begun with, or begin another sweep",
            )

    def _value(self, trial: Any, arm: Arm, path: Path) -> Value:
        name, axis = self._parameter(arm, path), arm.axes[path]
        if not isinstance(axis, Range):
            values = {_label(value): value for value in axis.values}
            return values[trial.suggest_categorical(name, list(values))]
        if is_whole(path, axis):
            low, high = math.floor(axis.low), int(axis.high)
            return Value(None, trial.suggest_int(name, low, high, log=axis.logarithmic and low >= 1))
        return axis.rounded(trial.suggest_float(name, axis.low, axis.high, log=axis.logarithmic))

    def _parameter(self, arm: Arm, path: Path) -> str:
        """The key, where all arms that vary it do so alike, so that they learn from each other; else the arm's own."""
        axes: list[Axis] = [one.axes[path] for one in self._arms.values() if path in one.axes]
        key = ".".join(path)
        return key if all(axis == axes[0] for axis in axes) else f"{key} of {arm.name}"


def _holds(axis: Axis, parameter: Any) -> bool:
    if isinstance(axis, Range):
        return isinstance(parameter, (int, float)) and math.floor(axis.low) <= parameter <= axis.high
    return parameter in map(_label, axis.values)


def _label(value: Value) -> str:
    """What tells a value of a list from others, whatever its place in the list."""
    return value.name if value.name is not None else json.dumps(value.value, sort_keys=True, default=str)


def _optuna() -> ModuleType:
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "optuna is not installed", key="--search", value="optuna", mend="Run pip install 'asvp[optuna]'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna
