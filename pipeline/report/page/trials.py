"""The table of all trials, for the page: also of those that failed or wait before their first round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from asvp.redaction import redact
from asvp.report.records import RunRecord
from asvp.report.status import State, TrialStatus
from asvp.report.trial_states import States

_WORDS: dict[State, str] = {
    "waiting": "waiting",
    "begun": "not finished",
    "running": "at work",
    "finished": "finished",
    "stopped": "stopped early",
    "failed": "failed",
    "damaged": "damaged",
}


def trials_section(records: Sequence[RunRecord], states: States) -> list[dict[str, Any]]:
    """One entry a trial: what its rounds say, and how it stands and why.

    Parameters
    ----------
    records : sequence of RunRecord
        Those with a finished round.
    states : mapping of Path to TrialStatus
        As far as that is known; what has no record comes last.
    """
    recorded = {run.path for run in records}
    others = [one for path, one in states.items() if path not in recorded]
    return [_recorded(run, states.get(run.path)) for run in records] + [_without_rounds(one) for one in others]


def _recorded(run: RunRecord, state: TrialStatus | None) -> dict[str, Any]:
    finals = run.accuracies("final")
    stages = dict.fromkeys(stage for one in run.rounds for stage in one.get("seconds") or {})
    reused = run.total("saved_seconds")
    own: State = "finished" if run.finished else "stopped" if run.stopped else "begun"
    return {
        "arm": run.arm,
        "seed": run.seed,
        "state": _WORDS[own if state is None else state.state],
        "reason": "" if state is None else redact(state.reason),
        "rounds": len(run.rounds),
        "labels": run.labelled,
        "accuracy": finals[-1][1] if finals else None,
        "computed": _sum(run.total("seconds", stage) for stage in stages) - reused,
        "reused": reused,
        "cost": run.total("cost", "total"),
    }


def _without_rounds(one: TrialStatus) -> dict[str, Any]:
    numbers = dict.fromkeys(("accuracy", "computed", "reused", "cost"))
    return {
        "arm": one.arm,
        "seed": one.seed,
        "state": _WORDS[one.state],
        "reason": redact(one.reason),
        "rounds": one.rounds,
        "labels": one.labelled,
        **numbers,
    }


def _sum(values: Iterable[float]) -> float:
    return float(sum(values))
