"""Extraction by a pool: shards are handed out as workers are lent, and done again where a worker dies, or is late."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from statistics import median
from typing import Any

import ray
from ray.exceptions import RayTaskError

from asvp.actors.broker import Grant, TakenForDeadError
from asvp.actors.desk import MOST_DEATHS, Desk, Lent
from asvp.actors.runs import Runs
from asvp.actors.shards import DIED, ObjectStoreShard, unwrap
from asvp.compute.extraction import Finished
from asvp.compute.jobs import EncoderSpec, ExtractionOrder, ShardJob, Weights, shards_at_a_time
from asvp.errors import WorkError
from asvp.spent import NOTHING, Span

_LATE = 4.0
"""A shard that takes so many times the median is late, and is given to a second worker once nothing else is left."""
_LATE_SECONDS = 20.0
"""What takes less is not late."""


class _Lent(Lent):
    """A worker that takes part, the calls that it has not answered, and what it has done."""

    def __init__(self, grant: Grant) -> None:
        super().__init__(grant)
        self.calls: set[Any] = set()
        self.shards = 0
        self.spent = NOTHING


@dataclass(frozen=True)
class _Call:
    """A shard that a worker has had since `begun`, and the reference to its table."""

    job: ShardJob
    table: Any
    lent: _Lent
    begun: float = field(default_factory=time.monotonic)


class ShardRun:
    """The shards of one extraction, on as many workers as the broker lends.

    What is late at the end goes to another worker as well, and the first to finish it counts.

    Parameters
    ----------
    desk : Desk
    order : ExtractionOrder
    jobs : Runs
        The shards.
    finished : callable
        Told of each finished shard, in the order they finish.
    width : int
        Workers whose cores one shard could use.
    urgent : bool
        Whether a loop waits for it.
    """

    def __init__(
        self,
        desk: Desk,
        order: ExtractionOrder,
        jobs: Runs,
        finished: Finished,
        *,
        width: int = 1,
        urgent: bool = True,
    ) -> None:
        self._desk = desk
        self._order = order
        self._waiting = jobs
        self._finished = finished
        self._width = width
        self._urgent = urgent
        self._likes = likes(order.encoder, order.weights)
        self._asks: dict[Any, str] = {}
        self._calls: dict[Any, _Call] = {}
        self._deaths: Counter[int] = Counter()
        self._done: set[int] = set()
        self._twice: set[int] = set()
        self._took: list[float] = []
        self._spans: list[Span] = []

    def run(self) -> tuple[Span, ...]:
        """Extract them all; the times for which each worker took part.

        Raises
        ------
        WorkError
            If one shard killed several workers.
        AsvpError
            Whatever a worker raised on purpose.
        """
        try:
            while self._waiting or any(call.job.index not in self._done for call in self._calls.values()):
                self._ask()
                references = [*self._asks, *self._calls]
                self._heed(self._desk.wait(references, working=bool(self._calls), seconds=self._patience()))
        finally:
            for ticket in self._asks.values():
                self._desk.give_back(ticket)
            for lent in {id(call.lent): call.lent for call in self._calls.values()}.values():
                self._give_back(lent, busy=True)
        return tuple(self._spans)

    def _ask(self) -> None:
        """Ask for as many workers as there are shards left, and workers in the pool."""
        lent = {id(call.lent) for call in self._calls.values()}
        left = len(self._waiting) + len(self._late())
        wanted = min(left, self._desk.workers - len(lent)) - len(self._asks)
        for _ in range(wanted):
            ticket, answer = self._desk.ask(urgent=self._urgent, width=self._width, likes=self._likes)
            self._asks[answer] = ticket

    def _heed(self, ready: Any) -> None:
        if ready in self._asks:
            del self._asks[ready]
            # Who was taken for dead asks again.
            with suppress(TakenForDeadError):
                self._hand_out(_Lent(self._desk.granted(ready)))
        elif ready in self._calls:
            self._answered(ready)

    def _late(self) -> list[_Call]:
        """Shards that are late while no other is left, the latest first; those that two workers have are none."""
        if self._waiting or not self._took:
            return []
        before = time.monotonic() - self._late_after()
        late = [call for call in self._calls.values() if call.begun <= before and not self._is_settled(call.job)]
        return sorted(late, key=lambda call: call.begun)

    def _is_settled(self, job: ShardJob) -> bool:
        return job.index in self._done or job.index in self._twice

    def _late_after(self) -> float:
        return max(_LATE * median(self._took), _LATE_SECONDS)

    def _patience(self) -> float | None:
        """Seconds until the next shard is late; None if none can be."""
        begun = [call.begun for call in self._calls.values() if not self._is_settled(call.job)]
        if self._waiting or not self._took or not begun:
            return None
        # What is late already waits for a worker, not for time.
        before = time.monotonic() - self._late_after()
        return min((begin - before for begin in begun if begin > before), default=None)

    def _next(self, lent: _Lent) -> ShardJob | None:
        """What a worker is to do: a shard that waits, or one that another worker is late with."""
        job = self._waiting.take(lent.grant.ticket)
        if job is None:
            job = next((call.job for call in self._late() if call.lent is not lent), None)
            if job is not None:
                self._twice.add(job.index)
        return job

    def _hand_out(self, lent: _Lent) -> None:
        """Give a worker what it can take; one with nothing to do goes back."""
        while len(lent.calls) < self._most(lent):
            job = self._next(lent)
            if job is None:
                break
            table, report = lent.grant.worker.extract.options(num_returns=2).remote(self._order, job, lent.grant.share)
            lent.calls.add(report)
            self._calls[report] = _Call(job, table, lent)
        if not lent.calls:
            self._give_back(lent)

    def _most(self, lent: _Lent) -> int:
        """Shards that a worker may have at a time: no more than leave as many to each that is here or on its way."""
        others = {id(call.lent) for call in self._calls.values()} - {id(lent)}
        even = (len(self._waiting) + len(self._calls)) // (1 + len(others) + len(self._asks))
        return max(1, min(shards_at_a_time(lent.grant.share, self._order.encoder.kind), even))

    def _give_back(self, lent: _Lent, *, died: bool = False, busy: bool = False) -> None:
        self._spans.append(lent.span(lent.spent, shards=lent.shards, died=died))
        self._desk.give_back(lent.grant.ticket, died=died, busy=busy)

    def _answered(self, report: Any) -> None:
        call = self._calls.pop(report)
        job, lent = call.job, call.lent
        lent.calls.discard(report)
        try:
            told = ray.get(report)
        except DIED:
            self._died(job, lent)
            return
        except RayTaskError as error:
            raise unwrap(error) from None
        if job.index not in self._done:
            self._done.add(job.index)
            lent.shards += 1
            lent.spent += told.spent
            self._took.append(time.monotonic() - call.begun)
            # With the name of its file nobody has to list the cache for it.
            self._finished(job, ObjectStoreShard(call.table, replace(job, stored=told.stored)), told)
        if self._waiting and not self._desk.keep(lent.grant.ticket):
            # Others wait: what it has is finished, and then it goes back.
            self._waiting.release(lent.grant.ticket)
            if not lent.calls:
                self._give_back(lent)
            return
        self._hand_out(lent)

    def _died(self, job: ShardJob, lent: _Lent) -> None:
        self._deaths[job.index] += 1
        if self._deaths[job.index] >= MOST_DEATHS:
            raise WorkError(
                f"the worker process died {MOST_DEATHS} times on rows {job.start} to {job.stop - 1}",
                mend="Lower encoder.batch_size or extraction.shard_rows if memory ran out",
            )
        lost = [job, *(self._calls.pop(other).job for other in list(lent.calls))]
        held = self._done | {call.job.index for call in self._calls.values()}
        self._waiting.release(lent.grant.ticket)
        self._waiting.put_back(sorted((one for one in lost if one.index not in held), key=lambda one: one.index))
        self._twice -= {one.index for one in lost}
        self._give_back(lent, died=True)


def likes(encoder: EncoderSpec, weights: Weights | None) -> str:
    """What a worker should hold for some work: the encoder with these weights, or the pre-trained ones (None)."""
    return f"{encoder.config.model_dump_json()} {weights.fingerprint if weights else ''}"
