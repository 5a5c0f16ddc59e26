"""Trials stopped before their end, since others of their seed do better with as many labels."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from asvp.config import Config, labels_by_round
from asvp.errors import AsvpError, ConfigError, did_you_mean
from asvp.files import parse_json
from asvp.holds import Hold
from asvp.record.run_directory import RunDirectory
from asvp.report.baseline import random_arms
from asvp.tune_spaces.space import Trial

Name = Literal["none", "asha", "median"]

_TIME, _METRIC = "labelled", "proxy_accuracy"
_FEWEST_OTHERS = 3
"""Of which median takes the median."""


@dataclass(frozen=True)
class Scheduler:
    """Which trials are stopped early, by the accuracy of their proxies.

    That is there after every round; final models are measured at a few label counts only. Trials of one seed are
    compared, which began with the same rows.

    Attributes
    ----------
    name : {"none", "asha", "median"}
        asha: asynchronous successive halving (Li et al., 2020). At `grace` labels, at `reduction` times as many, and so
        on, a trial goes on if it is among the best 1/`reduction` of those that have come so far. median: from `grace`
        labels on, a trial is stopped whose best round is below the median of the others' means (Golovin et al., 2017).
    grace : int, optional
        Labels with which a trial can be stopped first; None: a quarter of the largest budget, and at least two rounds.
    reduction : float
        Of asha.
    """

    name: Name = "none"
    grace: int | None = None
    reduction: float = 2.0

    def __post_init__(self) -> None:
        names = get_args(Name)
        if self.name not in names:
            hint = did_you_mean(self.name, names)
            mend = f"{hint}Choose among: {', '.join(names)}"
            raise ConfigError("is unknown", key="scheduler", value=self.name, mend=mend)
        if self.grace is not None and (type(self.grace) is not int or self.grace < 1):
            raise ConfigError("is no number of labels from 1", key="scheduler.grace", value=self.grace)
        if not isinstance(self.reduction, (int, float)) or not 1 < self.reduction < math.inf:
            raise ConfigError("must be above 1", key="scheduler.reduction", value=self.reduction)


@dataclass(frozen=True)
class Stop:
    """Why a trial was stopped early, and what it would have cost to go on.

    Attributes
    ----------
    scheduler : str
    labelled : int
        Labels that were bought.
    proxy_accuracy : float
    labels_left : int
        Of its budget.
    dollars_left : float
        These labels, and compute at the pace of its rounds so far; a last final model is not in it.
    """

    scheduler: str
    labelled: int
    proxy_accuracy: float
    labels_left: int
    dollars_left: float

    @property
    def message(self) -> str:
        """The same in words."""
        return (
            f"stopped early by {self.scheduler}, as its proxy reached {self.proxy_accuracy:.3f} with "
            f"{self.labelled:,} labels; {self.labels_left:,} more would have cost ${self.dollars_left:,.2f}"
        )

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "message": self.message}


class EarlyStopping:
    """Decides which trials of a sweep are stopped, as their rounds come in.

    The arm of random picks that all others are measured against (`asvp.report.baseline`) is never stopped, nor is one
    without a proxy.

    Parameters
    ----------
    scheduler : Scheduler
    trials : sequence of Trial
    """

    def __init__(self, scheduler: Scheduler, trials: Sequence[Trial]) -> None:
        self._scheduler = scheduler
        self._trials = {trial.name: trial for trial in trials}
        self._rules: dict[int, _Rule] = {}
        self._heard: dict[str, int] = {}
        most = max((sum(trial.config.budget) for trial in trials), default=1)
        second = max((_after_second_round(trial.config) for trial in trials), default=1)
        self._grace = scheduler.grace or max(math.ceil(most / 4), second)
        self._most = max(most, self._grace)

    def came(self, trial: Trial, config: Config) -> None:
        """A trial has joined."""
        self._trials[trial.name] = trial

    def replay(self, name: str, rounds: Sequence[Mapping[str, Any]]) -> None:
        """Take account of rounds that were finished before."""
        for record in rounds:
            self._stops(name, record)

    def heard(self, name: str, record: Mapping[str, Any]) -> bool:
        """A trial has finished a round: whether it is stopped there."""
        trial = self._trials[name]
        ended = record[_TIME] >= sum(trial.config.budget)
        return self._stops(name, record) and not ended and trial.arm != self._baseline()

    def _baseline(self) -> str | None:
        known = self._trials.values()
        return next(iter(random_arms((one.arm, one.config.model_dump(mode="json")) for one in known)), None)

    def told(self, name: str, rounds: Sequence[Mapping[str, Any]]) -> Stop:
        """Why a trial is stopped after these rounds."""
        trial, last = self._trials[name], rounds[-1]
        left = sum(trial.config.budget) - last[_TIME]
        compute = sum(float((one.get("cost") or {}).get("compute") or 0.0) for one in rounds) / len(rounds)
        rounds_left = len(trial.config.budget) - len(rounds)
        return Stop(
            self._scheduler.name,
            last[_TIME],
            last[_METRIC],
            left,
            left * trial.config.cost.per_label + rounds_left * compute,
        )

    def _stops(self, name: str, record: Mapping[str, Any]) -> bool:
        """What the rule says; a round that was heard of before, or without a proxy, is none."""
        trial, labelled = self._trials[name], record[_TIME]
        if record.get(_METRIC) is None or labelled <= self._heard.get(name, 0) or self._scheduler.name == "none":
            return False
        self._heard[name] = labelled
        rule = self._rules.setdefault(trial.seed, _Rule(self._scheduler, self._grace, self._most))
        return rule.stops(name, {_TIME: labelled, _METRIC: float(record[_METRIC])})


def settled_scheduler(given: Scheduler | None, out: Path, hold: Hold) -> Scheduler:
    """What a sweep goes on with: the scheduler that is asked for, else the one it was begun with, which is kept."""
    place = out / "scheduler.json"
    if given is None:
        try:
            return Scheduler(**parse_json(place.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError, ConfigError):
            given = Scheduler()
    text = json.dumps(asdict(given))
    hold.write(place, lambda path: path.write_text(text, encoding="utf-8"))
    return given


def early_stopping(scheduler: Scheduler, trials: Sequence[Trial], runs: Path, hold: Hold) -> EarlyStopping:
    """The rule with what trials have done before; without one, those that were stopped may go on."""
    stopping = EarlyStopping(scheduler, trials)
    for trial in trials:
        directory = RunDirectory(runs / trial.name)
        if scheduler.name != "none":
            # What cannot be read is for the trial itself to tell.
            with suppress(AsvpError):
                stopping.replay(trial.name, directory.rounds())
        elif directory.stopped() is not None:
            with directory.held(hold.mandate):
                directory.forget_stopped()
    return stopping


def scheduler_cautions(scheduler: Scheduler, trials: Sequence[Trial]) -> Iterator[str]:
    """What has to be known before proxies decide which trials go on."""
    if scheduler.name == "none":
        return
    arms = {trial.arm: trial.config for trial in trials}
    without = [arm for arm, config in arms.items() if config.mode == "standard"]
    if without:
        yield f"--scheduler {scheduler.name}: {', '.join(without)} has no proxy to compare, and is never stopped early"
    if len({_proxied(config) for arm, config in arms.items() if arm not in without}) > 1:
        yield (
            f"--scheduler {scheduler.name}: arms are compared that differ in mode, refresh, encoder or proxy; a proxy "
            "on refreshed features may be ahead of another whose final model is as good"
        )


class _Rule:
    """Ray Tune's rule for the trials of one seed."""

    def __init__(self, scheduler: Scheduler, grace: int, most: int) -> None:
        # Whoever names a scheduler needs no Ray.
        from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule, TrialScheduler

        told: dict[str, Any] = {"time_attr": _TIME, "metric": _METRIC, "mode": "max", "grace_period": grace}
        self._known: set[str] = set()
        self._rule: Any
        self._stop = TrialScheduler.STOP
        if scheduler.name == "median":
            self._rule = MedianStoppingRule(**told, min_samples_required=_FEWEST_OTHERS)
        else:
            self._rule = AsyncHyperBandScheduler(
                **told, max_t=most, reduction_factor=scheduler.reduction, stop_last_trials=False
            )

    def stops(self, name: str, told: Mapping[str, float]) -> bool:
        one = _Named(name)
        if name not in self._known:
            self._known.add(name)
            self._rule.on_trial_add(_Alone(), one)
        return bool(self._rule.on_trial_result(_Alone(), one, dict(told)) == self._stop)


class _Alone:
    """What the rules ask of Ray Tune's controller: no trial makes way for others before it can be compared."""

    def get_live_trials(self) -> set[Any]:
        return set()


@dataclass(frozen=True)
class _Named:
    """What the rules ask of a trial."""

    trial_id: str


def _after_second_round(config: Config) -> int:
    return labels_by_round(config.budget)[:2][-1]


def _proxied(config: Config) -> str:
    sections = {"encoder", "features", "proxy", "refresh", "mode"} & set(type(config).model_fields)
    return config.model_dump_json(include=sections)
