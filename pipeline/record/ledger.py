"""What a run costs: seconds and device seconds of every stage, labels bought, dollars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

from asvp.config import CostConfig

Stage = Literal["extract", "proxy", "indicator", "select", "finetune", "train", "evaluate", "other"]
"""`finetune` is for a refresh of the features, `train` for the final model."""

STAGES: tuple[Stage, ...] = get_args(Stage)
SAMPLING: tuple[Stage, ...] = ("extract", "proxy", "indicator", "select", "finetune")
"""The stages whose only end is to choose rows."""

_HOUR = 3600.0


@dataclass(frozen=True)
class _Amount:
    """Wall seconds, the core- and GPU-seconds held meanwhile, and the wall seconds that a cache saved."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    saved_seconds: float = 0.0

    def __add__(self, other: _Amount) -> _Amount:
        return _Amount(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
            self.saved_seconds + other.saved_seconds,
        )

    def dollars(self, prices: CostConfig) -> float:
        return (self.cpu_seconds * prices.cpu_hour + self.gpu_seconds * prices.gpu_hour) / _HOUR


@dataclass
class _Running:
    """A stage that is open: what it holds and since when it has not been booked."""

    stage: Stage
    cpus: float
    gpus: float
    since: float


class Ledger:
    """The accounts of one run, round by round.

    Every second between two rounds is booked once. A stage inside another stage interrupts the outer one; time in no
    stage goes to `other`. Work that a cache or another trial did already is charged as if it had been done here, so
    that arms can be compared, and is also kept as saved.

    Parameters
    ----------
    prices : CostConfig
        Dollars a label, a GPU-hour and a CPU-core-hour.
    cpus, gpus : float
        What the run holds while a stage does not say otherwise.
    clock : callable
        Returns seconds that never go back.
    """

    def __init__(
        self,
        prices: CostConfig,
        *,
        cpus: float = 1.0,
        gpus: float = 0.0,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._prices = prices
        self._clock = clock
        self._round = {stage: _Amount() for stage in STAGES}
        self._closed = {stage: _Amount() for stage in STAGES}
        self._labels = 0
        self._running = [_Running("other", cpus, gpus, clock())]

    @contextmanager
    def stage(self, stage: Stage, *, cpus: float | None = None, gpus: float | None = None) -> Iterator[None]:
        """Book the time of the block, also when it fails.

        Parameters
        ----------
        stage : str
            One of `STAGES`.
        cpus, gpus : float, optional
            Cores and GPUs held by the block, its actors and workers included. None: what is held around it.

        Raises
        ------
        ValueError
            If there is no such stage, or less than nothing is held.
        """
        outer = self._running[-1]
        inner_cpus, inner_gpus = outer.cpus if cpus is None else cpus, outer.gpus if gpus is None else gpus
        _check(stage, inner_cpus, inner_gpus)
        self._book()
        inner = _Running(stage, inner_cpus, inner_gpus, outer.since)
        self._running.append(inner)
        try:
            yield
        finally:
            self._book()
            self._running.pop()
            outer.since = inner.since

    def charge(self, stage: Stage, seconds: float, *, cpus: float = 1.0, gpus: float = 0.0) -> None:
        """Charge work that was not done again because its result was there, as if it had been done.

        Parameters
        ----------
        stage : str
            One of `STAGES`.
        seconds : float
            Wall seconds the work took when it was done.
        cpus, gpus : float
            Cores and GPUs it held then.

        Raises
        ------
        ValueError
            If there is no such stage, or an amount is negative.
        """
        _check(stage, cpus, gpus)
        if seconds < 0:
            raise ValueError(f"seconds of stage {stage!r} cannot be negative, got {seconds}")
        self._round[stage] += _Amount(seconds, seconds * cpus, seconds * gpus, seconds)

    def close_round(self, labels_bought: int) -> dict[str, Any]:
        """End a round and give its share of the round's object.

        Parameters
        ----------
        labels_bought : int
            Labels bought in this round, not in all.

        Returns
        -------
        dict
            Of this round alone: `seconds` a stage (finetune holds the refresh and the final model), `cost` in
            dollars, `sampling_seconds`, `training_seconds` (the final model), `saved_seconds` (charged but not spent
            here) and `device_seconds` of cores and GPUs.

        Raises
        ------
        RuntimeError
            If a stage is open.
        ValueError
            If `labels_bought` is negative.
        """
        if len(self._running) > 1:
            raise RuntimeError(f"a round cannot be closed inside the stage {self._running[-1].stage!r}")
        if labels_bought < 0:
            raise ValueError(f"labels_bought cannot be negative, got {labels_bought}")
        self._book()
        report = self._report(self._round, labels_bought)
        self._closed = {stage: self._closed[stage] + self._round[stage] for stage in STAGES}
        self._round = {stage: _Amount() for stage in STAGES}
        self._labels += labels_bought
        return report

    def totals(self) -> dict[str, Any]:
        """The sums over all closed rounds, with the keys of `close_round`, and `labels`."""
        return {"labels": self._labels, **self._report(self._closed, self._labels)}

    def state(self) -> dict[str, Any]:
        """Everything booked so far, for JSON; the round in progress included."""
        self._book()
        return {
            "labels": self._labels,
            "closed": {stage: vars(amount) for stage, amount in self._closed.items()},
            "round": {stage: vars(amount) for stage, amount in self._round.items()},
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`; what was booked here before is dropped, and the clock starts now.

        Raises
        ------
        ValueError
            If it is no state of a ledger.
        """
        try:
            closed = {stage: _Amount(**state["closed"][stage]) for stage in STAGES}
            current = {stage: _Amount(**state["round"][stage]) for stage in STAGES}
            labels = int(state["labels"])
        except (KeyError, TypeError) as error:
            raise ValueError(f"not the state of a ledger: {error}") from None
        self._book()
        self._closed, self._round, self._labels = closed, current, labels

    def _book(self) -> None:
        """Move the time since the last booking to the innermost open stage."""
        running = self._running[-1]
        now = self._clock()
        seconds = max(0.0, now - running.since)
        running.since = now
        self._round[running.stage] += _Amount(seconds, seconds * running.cpus, seconds * running.gpus)

    def _report(self, amounts: Mapping[Stage, _Amount], labels: int) -> dict[str, Any]:
        seconds = {stage: amounts[stage].seconds for stage in STAGES if stage != "train"}
        seconds["finetune"] += amounts["train"].seconds
        dollars = {stage: amounts[stage].dollars(self._prices) for stage in STAGES}
        bought, compute = labels * self._prices.per_label, sum(dollars.values())
        return {
            "seconds": seconds,
            "sampling_seconds": sum(amounts[stage].seconds for stage in SAMPLING),
            "training_seconds": amounts["train"].seconds,
            "saved_seconds": sum(amount.saved_seconds for amount in amounts.values()),
            "device_seconds": {
                "cpu": sum(amount.cpu_seconds for amount in amounts.values()),
                "gpu": sum(amount.gpu_seconds for amount in amounts.values()),
            },
            "cost": {
                "labels": bought,
                "sampling": sum(dollars[stage] for stage in SAMPLING),
                "training": dollars["train"],
                "evaluation": dollars["evaluate"],
                "compute": compute,
                "total": bought + compute,
            },
        }


def _check(stage: str, cpus: float, gpus: float) -> None:
    if stage not in STAGES:
        raise ValueError(f"unknown stage {stage!r}: one of {', '.join(STAGES)}")
    if min(cpus, gpus) < 0:
        raise ValueError(f"stage {stage!r} cannot hold {cpus} cores and {gpus} GPUs")
