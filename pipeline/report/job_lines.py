"""The jobs of a run as its directory keeps them: `jobs.jsonl`, a line a job, and one for each time it was begun."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import Any

from asvp.files import parse_json
from asvp.spent import NOTHING, Span, Spent

JOBS = "jobs.jsonl"
_LATEST = 1e11
"""Seconds since 1970 beyond which a stamp is none."""


@dataclass(frozen=True)
class Begun:
    """A process began a run, or went on with it.

    Attributes
    ----------
    attempt : str
        What its jobs are known by.
    rounds : int
        Rounds that were finished before.
    owed : tuple of int
        Of these, the ones whose final model was not there yet, and is made once more.
    """

    attempt: str
    rounds: int = 0
    owed: tuple[int, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"attempt": self.attempt, "begun": self.rounds, "owed": list(self.owed)}


@dataclass(frozen=True)
class JobLine:
    """A job that is done.

    Attributes
    ----------
    attempt : str
        Of the process that had it done.
    number : int
        Among the jobs of that process.
    what : str
        Such as "selection".
    stage : str
        Of the ledger.
    round : int or None
        None: no round is charged for it. It was done once more so that a run could go on, or for all trials of a sweep.
    rows : int
        It was about.
    spent, saved : Spent
        What is charged for it, and what of that was not spent for this run.
    waited : float
        Seconds in the queue.
    seconds : float
        For which the driver, or a thread beside it, waited for the job in all.
    spans : tuple of Span
        Who worked when; nobody, where it was there already.
    beside : bool
        Whether it went on beside the loop of rounds.
    lost : bool
        Whether the process ended before the round did, so that it was done once more.
    """

    attempt: str
    number: int
    what: str
    stage: str
    round: int | None
    rows: int
    spent: Spent = NOTHING
    saved: Spent = NOTHING
    waited: float = 0.0
    seconds: float = 0.0
    spans: tuple[Span, ...] = field(default=())
    beside: bool = False
    lost: bool = False

    @property
    def reused(self) -> bool:
        """Whether all of it was there already."""
        return self.saved != NOTHING and self.saved == self.spent

    def to_json(self) -> dict[str, Any]:
        """Plain values, short: what is nothing is left out."""
        told = {
            "attempt": self.attempt,
            "job": self.number,
            "what": self.what,
            "stage": self.stage,
            "round": self.round,
            "rows": self.rows,
            "spent": _seconds(self.spent),
            "saved": _seconds(self.saved),
            "waited": round(self.waited, 6),
            "seconds": round(self.seconds, 6),
            "spans": [_span_to_json(span) for span in self.spans],
            "beside": self.beside,
        }
        return {name: value for name, value in told.items() if value or name in ("job", "round", "rows")}


@dataclass(frozen=True)
class Jobs:
    """What a directory tells of its jobs.

    Attributes
    ----------
    jobs : tuple of JobLine
    begun : tuple of Begun
        In the order in which it was begun, and gone on with.
    unreadable : int
        Lines that say nothing that is understood.
    """

    jobs: tuple[JobLine, ...]
    begun: tuple[Begun, ...]
    unreadable: int = 0


def read_jobs(folder: Path) -> Jobs | None:
    """The jobs of a run, or those that a sweep had done for all its trials; None where none are told of."""
    try:
        lines = (folder / JOBS).read_bytes().splitlines()
    except OSError:
        return None
    found = [_read(line) for line in lines if line.strip()]
    begun = tuple(one for one in found if isinstance(one, Begun))
    jobs = tuple(_known(one, begun) for one in found if isinstance(one, JobLine))
    return Jobs(jobs, begun, sum(one is None for one in found))


def _known(job: JobLine, begun: tuple[Begun, ...]) -> JobLine:
    """The job with whether a later process had it done once more."""
    places = [place for place, one in enumerate(begun) if one.attempt == job.attempt]
    later = begun[places[0] + 1 :] if places else ()
    number = job.round
    lost = number is not None and any(number >= one.rounds or (job.beside and number in one.owed) for one in later)
    return replace(job, lost=lost)


def _read(line: bytes) -> Begun | JobLine | None:
    try:
        told = parse_json(line)
        if "begun" in told:
            return Begun(str(told["attempt"]), _whole(told["begun"]), tuple(map(_whole, told["owed"])))
        number = told["round"]
        return JobLine(
            attempt=str(told["attempt"]),
            number=_whole(told["job"]),
            what=str(told["what"]),
            stage=str(told["stage"]),
            round=None if number is None else _whole(number),
            rows=_whole(told["rows"]),
            spent=_spent(told),
            saved=_spent(told, "saved"),
            waited=_amount(told.get("waited", 0.0)),
            seconds=_amount(told.get("seconds", 0.0)),
            spans=tuple(_spans(told)),
            beside=told.get("beside") is True,
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def _seconds(spent: Spent) -> list[float]:
    """Three numbers; none for nothing."""
    return [] if spent == NOTHING else [round(one, 6) for one in (spent.seconds, spent.cpu_seconds, spent.gpu_seconds)]


def _span_to_json(span: Span) -> dict[str, Any]:
    told = {
        "node": span.node,
        "workers": list(span.workers),
        "began": round(span.began, 6),
        "ended": round(span.ended, 6),
        "spent": _seconds(span.spent),
        "shards": span.shards,
        "died": span.died,
    }
    return {name: value for name, value in told.items() if value}


def _spans(told: Mapping[str, Any]) -> Iterator[Span]:
    for one in told.get("spans", []):
        began, ended = _amount(one["began"]), _amount(one["ended"])
        workers = tuple(map(str, one["workers"]))
        if ended < began or not workers:
            raise ValueError("a time that ends before it begins, or is nobody's")
        yield Span(
            workers,
            str(one["node"]),
            began,
            ended,
            _spent(one),
            _whole(one.get("shards", 0)),
            one.get("died") is True,
        )


def _spent(told: Mapping[str, Any], name: str = "spent") -> Spent:
    if name not in told:
        return NOTHING
    seconds, cpu_seconds, gpu_seconds = map(_amount, told[name])
    return Spent(seconds, cpu_seconds, gpu_seconds)


def _amount(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < _LATEST or not isfinite(value):
        raise ValueError("no amount")
    return float(value)


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise ValueError("no count")
    return value
