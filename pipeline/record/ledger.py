"""What a run costs: device-seconds of every stage, labels bought, dollars."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal, get_args

from asvp.config import CostConfig
from asvp.spent import Spent

Stage = Literal["extract", "proxy", "indicator", "select", "finetune", "train", "evaluate", "other"]
"""`finetune` is for a refresh of the features, `train` for the final model."""

STAGES: tuple[Stage, ...] = get_args(Stage)
SAMPLING: tuple[Stage, ...] = ("extract", "proxy", "indicator", "select", "finetune")
"""The stages whose only end is to choose rows."""

_HOUR = 3600.0


@dataclass(frozen=True)
class _Amount:
    """Busy seconds of workers, times the cores and GPUs they hold, and the seconds that were spent before."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0
    saved_seconds: float = 0.0

    def __add__(self, other: _Amount) -> _Amount:
        return _Amount(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(_Amount)))

    def dollars(self, prices: CostConfig) -> float:
        return (self.cpu_seconds * prices.cpu_hour + self.gpu_seconds * prices.gpu_hour) / _HOUR


@dataclass
class _Account:
    """What one round has come to."""

    amounts: dict[Stage, _Amount] = field(default_factory=lambda: {stage: _Amount() for stage in STAGES})
    labels: int = 0
    waited: float = 0.0

    def __add__(self, other: _Account) -> _Account:
        amounts = {stage: self.amounts[stage] + other.amounts[stage] for stage in STAGES}
        return _Account(amounts, self.labels + other.labels, self.waited + other.waited)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> _Account:
        amounts: dict[Stage, _Amount] = {stage: _Amount(**stored["amounts"][stage]) for stage in STAGES}
        return cls(amounts, int(stored["labels"]), float(stored["waited"]))

    def report(self, prices: CostConfig) -> dict[str, Any]:
        """As `Ledger.close_round` gives it."""
        amounts = self.amounts
        seconds = {stage: amounts[stage].seconds for stage in STAGES if stage != "train"}
        seconds["finetune"] += amounts["train"].seconds
        dollars = {stage: amounts[stage].dollars(prices) for stage in STAGES}
        bought, compute = self.labels * prices.per_label, sum(dollars.values())
        return {
            "seconds": seconds,
            "sampling_seconds": sum(amounts[stage].seconds for stage in SAMPLING),
            "training_seconds": amounts["train"].seconds,
            "saved_seconds": sum(amount.saved_seconds for amount in amounts.values()),
            "waiting_seconds": self.waited,
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


@dataclass
class Away:
    """A time in which the driver waited for others.

    Attributes
    ----------
    seconds : float
        Known when it is over.
    """

    seconds: float = 0.0


class Ledger:
    """The accounts of one run, round by round.

    What is booked is what work cost where it was done: busy device-seconds, as the jobs report them. Work that a cache
    or another trial did already is charged as if it had been done here, so that arms can be compared, and is also kept
    as saved. Waiting costs nothing and is kept apart; what is left of the time between two rounds, in which the driver
    itself worked, is `other`.

    Parameters
    ----------
    prices : CostConfig
        Dollars a label, a GPU-hour and a CPU-core-hour.
    clock : callable
        Returns seconds that never go back.
    """

    def __init__(self, prices: CostConfig, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._prices = prices
        self._clock = clock
        self._rounds: list[_Account] = []
        self._open = _Account()
        self._since = clock()

    @contextmanager
    def away(self) -> Iterator[Away]:
        """The driver waits for others inside the block, and books what they tell; it is none of its own time."""
        self._book()
        away, left = Away(), self._since
        try:
            yield away
        finally:
            self._since = self._clock()
            away.seconds = self._since - left

    def charge(
        self,
        stage: Stage,
        spent: Spent,
        *,
        saved: Spent | None = None,
        waited: float = 0.0,
        number: int | None = None,
    ) -> None:
        """Book work.

        Parameters
        ----------
        stage : str
            One of `STAGES`.
        spent : Spent
            What it cost when it was done.
        saved : Spent, optional
            What of that was not spent for this run, because a cache or another run had done it.
        waited : float
            Seconds for which it waited for a worker.
        number : int, optional
            Of a closed round that the work was for; None: the one in progress.

        Raises
        ------
        ValueError
            If there is no such stage, or an amount is negative.
        """
        if stage not in STAGES:
            raise ValueError(f"unknown stage {stage!r}: one of {', '.join(STAGES)}")
        told = _Amount(**asdict(spent), saved_seconds=saved.seconds if saved else 0.0)
        if min(*asdict(told).values(), waited) < 0:
            raise ValueError(f"work of stage {stage!r} cannot have cost less than nothing: {told}, {waited}")
        account = self._open if number is None else self._rounds[number]
        account.amounts[stage] += told
        account.waited += waited

    def close_round(self, labels_bought: int) -> dict[str, Any]:
        """End a round and give its share of the round's object.

        Parameters
        ----------
        labels_bought : int
            Labels bought in this round, not in all.

        Returns
        -------
        dict
            Of this round alone: `seconds` a stage in which workers were busy (finetune holds the refresh and the final
            model), `cost` in dollars, `sampling_seconds`, `training_seconds` (the final model), `saved_seconds`
            (charged but not spent here), `waiting_seconds` (in the queue for a worker, which costs nothing) and
            `device_seconds` of cores and GPUs.

        Raises
        ------
        ValueError
            If `labels_bought` is negative.
        """
        if labels_bought < 0:
            raise ValueError(f"labels_bought cannot be negative, got {labels_bought}")
        self._book()
        self._open.labels = labels_bought
        self._rounds.append(self._open)
        self._open = _Account()
        return self.report(len(self._rounds) - 1)

    def report(self, number: int) -> dict[str, Any]:
        """What `close_round` gave of a round, with what has been booked on it since."""
        return self._rounds[number].report(self._prices)

    def totals(self) -> dict[str, Any]:
        """The sums over all closed rounds, with the keys of `close_round`, and `labels`."""
        total = sum(self._rounds, _Account())
        return {"labels": total.labels, **total.report(self._prices)}

    def state(self) -> dict[str, Any]:
        """What is booked on closed rounds, for JSON."""
        return {"rounds": [asdict(account) for account in self._rounds]}

    def restore(self, state: Mapping[str, Any], rounds: int = 1) -> None:
        """Go on from a `state` with a new round; what was booked here before is dropped, and the clock starts now.

        Parameters
        ----------
        state : mapping
            Of this version, or of one before, which told the sums over all rounds alone.
        rounds : int
            How many rounds are closed.

        Raises
        ------
        ValueError
            If it is no state of a ledger.
        """
        try:
            if "rounds" in state:
                closed = [_Account.from_json(stored) for stored in state["rounds"]]
            else:
                sums = {"amounts": state["closed"], "labels": state["labels"], "waited": 0.0}
                closed = [_Account.from_json(sums), *(_Account() for _ in range(rounds - 1))]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"not the state of a ledger: {error}") from None
        self._rounds, self._open = closed, _Account()
        self._since = self._clock()

    def _book(self) -> None:
        """Count the time since the last booking as the driver's own, on one core."""
        now = self._clock()
        seconds = max(0.0, now - self._since)
        self._since = now
        self._open.amounts["other"] += _Amount(seconds, seconds)
