"""A trial as loggers know it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from asvp.config import Config
from asvp.config.budget import evaluated_counts
from asvp.tune_spaces.space import Trial

Setting = str | float | bool


@dataclass(frozen=True)
class LoggedTrial:
    """A trial, and what sets it apart.

    Attributes
    ----------
    name, arm : str
    seed : int
    settings : mapping of str to str, number or bool
        By dotted key: values of all options that some arm of the sweep changes.
    due : frozenset of int
        Label counts at which a final model is trained.
    """

    name: str
    arm: str
    seed: int
    settings: Mapping[str, Setting] = field(default_factory=dict)
    due: frozenset[int] = frozenset()

    @property
    def parameters(self) -> dict[str, Setting]:
        """What trials are told apart by: arm, seed and settings."""
        return {"arm": self.arm, "seed": self.seed, **self.settings}


class LoggedTrials:
    """Trials by name, to which others may come while the sweep runs.

    Parameters
    ----------
    trials : sequence of Trial
    configs : mapping of str to Config
        What they run with, by name.
    """

    def __init__(self, trials: Sequence[Trial], configs: Mapping[str, Config]) -> None:
        self._came: dict[str, tuple[Trial, Config]] = {}
        self._keys: set[str] = set()
        for trial in trials:
            self.came(trial, configs[trial.name])

    def came(self, trial: Trial, config: Config) -> None:
        """A trial has joined."""
        self._came[trial.name] = (trial, config)
        self._keys.update(_changed(trial))

    def __getitem__(self, name: str) -> LoggedTrial:
        trial, config = self._came[name]
        settings = {key: _plain(_value(config, key)) for key in sorted(self._keys)}
        due = evaluated_counts(config.budget, config.training.evaluate_at)
        return LoggedTrial(trial.name, trial.arm, trial.seed, settings, due)


def _changed(trial: Trial) -> Iterator[str]:
    """Options that an arm changes; below a section a mapping is one option's value."""
    for section, changes in trial.changes.items():
        if isinstance(getattr(trial.config, section), BaseModel) and isinstance(changes, Mapping):
            yield from (f"{section}.{key}" for key in changes)
        else:
            yield section


def _value(config: Config, key: str) -> Any:
    found: Any = config
    for part in key.split("."):
        found = getattr(found, part)
    return found


def _plain(value: Any) -> Setting:
    return value if isinstance(value, (str, int, float)) else json.dumps(value, default=_dumped)


def _dumped(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
