"""How runs and sweeps stand."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

State = Literal["waiting", "begun", "running", "finished", "stopped", "failed", "damaged"]
"""`begun`: some rounds are done, and nothing here tells whether anybody is at work; `stopped`: early, by its sweep."""


@dataclass(frozen=True)
class Planned:
    """A trial of a sweep before it begins.

    Attributes
    ----------
    trial, arm : str
    seed : int
    budget : tuple of int
        Labels to buy in each round; empty where that is not known.
    """

    trial: str
    arm: str
    seed: int
    budget: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrialStatus:
    """How a trial stands.

    Attributes
    ----------
    trial, arm : str
    seed : int
    state : str
    budget : tuple of int
        Labels to buy in each round; empty where that is not known.
    rounds : int
        Finished ones.
    labelled : int
    final_accuracy, proxy_accuracy : float or None
        The last that were measured.
    refreshes : int
    cpu_hours, gpu_hours : float
        Device-hours charged.
    dollars : float
        Labels and compute, all that was charged.
    reason : str
        Why it failed, was stopped, or cannot be read.
    """

    trial: str
    arm: str
    seed: int
    state: State
    budget: tuple[int, ...] = ()
    rounds: int = 0
    labelled: int = 0
    final_accuracy: float | None = None
    proxy_accuracy: float | None = None
    refreshes: int = 0
    cpu_hours: float = 0.0
    gpu_hours: float = 0.0
    dollars: float = 0.0
    reason: str = ""

    @property
    def rounds_planned(self) -> int:
        """Rounds of the budget; 0 where that is not known."""
        return len(self.budget)


@dataclass(frozen=True)
class Status:
    """How a run or a sweep stands.

    Attributes
    ----------
    directory : Path or str
        A URI as text.
    trials : tuple of TrialStatus
        Of a run, the one.
    at_work : bool
        Whether a process of this machine, or of another on the same file system with locks, is at work there; at a URI
        any process that has given a sign of life of late.
    silent_seconds : float or None
        Since a file was last written; None where there is none.
    """

    directory: Path | str
    trials: tuple[TrialStatus, ...]
    at_work: bool
    silent_seconds: float | None

    @property
    def done(self) -> int:
        """Trials that are finished."""
        return sum(trial.state == "finished" for trial in self.trials)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "directory": str(self.directory),
            "at_work": self.at_work,
            "done": self.done,
            "total": len(self.trials),
            "states": dict(Counter(trial.state for trial in self.trials)),
            "silent_seconds": self.silent_seconds,
            "trials": [asdict(trial) for trial in self.trials],
        }


def trial_status(planned: Planned, rounds: Sequence[Mapping[str, Any]], state: State, reason: str = "") -> TrialStatus:
    """What the objects of its rounds say of a trial."""
    last = rounds[-1] if rounds else {}
    devices = [one.get("device_seconds") or {} for one in rounds]
    return TrialStatus(
        trial=planned.trial,
        arm=planned.arm,
        seed=planned.seed,
        state=state,
        budget=planned.budget,
        rounds=len(rounds),
        labelled=int(last.get("labelled", 0)),
        final_accuracy=_last(rounds, "final_accuracy"),
        proxy_accuracy=_last(rounds, "proxy_accuracy"),
        refreshes=sum(bool(one.get("refreshed")) for one in rounds),
        cpu_hours=sum(float(one.get("cpu") or 0.0) for one in devices) / 3600,
        gpu_hours=sum(float(one.get("gpu") or 0.0) for one in devices) / 3600,
        dollars=sum(float((one.get("cost") or {}).get("total") or 0.0) for one in rounds),
        reason=reason,
    )


def _last(rounds: Sequence[Mapping[str, Any]], key: str) -> float | None:
    return next((float(one[key]) for one in reversed(rounds) if one.get(key) is not None), None)
