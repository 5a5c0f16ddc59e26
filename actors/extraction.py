"""Extraction by a pool: shards are handed out as workers are lent, and redone when a worker dies."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import ray
from ray.exceptions import RayTaskError

from asvp.actors.broker import Grant, TakenForDeadError
from asvp.actors.desk import MOST_DEATHS, Desk
from asvp.actors.runs import Runs
from asvp.actors.shards import DIED, ObjectStoreShard, unwrap
from asvp.compute.extraction import Finished
from asvp.compute.jobs import EncoderSpec, ExtractionOrder, ShardJob, Weights
from asvp.errors import WorkError

_IN_FLIGHT = 2
"""Shards that a worker has at a time: one in the forward pass, and one being read."""


@dataclass
class _Lent:
    """A worker that takes part, and the calls that it has not answered."""

    grant: Grant
    calls: set[Any] = field(default_factory=set)


class ShardRun:
    """The shards of one extraction, on as many workers as the broker lends.

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
        self._calls: dict[Any, tuple[ShardJob, Any, _Lent]] = {}
        self._deaths: Counter[int] = Counter()

    def run(self) -> None:
        """Extract them all.

        Raises
        ------
        WorkError
            If one shard killed several workers.
        AsvpError
            Whatever a worker raised on purpose.
        """
        try:
            while self._waiting or self._calls:
                self._ask()
                self._heed(self._desk.wait([*self._asks, *self._calls], working=bool(self._calls)))
        finally:
            for ticket in self._asks.values():
                self._desk.give_back(ticket)
            for lent in {id(lent): lent for _, _, lent in self._calls.values()}.values():
                self._desk.give_back(lent.grant.ticket)

    def _ask(self) -> None:
        """Ask for as many workers as there are shards left, and workers in the pool."""
        lent = {id(lent) for _, _, lent in self._calls.values()}
        wanted = min(len(self._waiting), self._desk.workers - len(lent)) - len(self._asks)
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

    def _hand_out(self, lent: _Lent) -> None:
        """Give a worker what it can take; one with nothing to do goes back."""
        while len(lent.calls) < _IN_FLIGHT:
            job = self._waiting.take(lent.grant.ticket)
            if job is None:
                break
            table, report = lent.grant.worker.extract.options(num_returns=2).remote(self._order, job, lent.grant.share)
            lent.calls.add(report)
            self._calls[report] = (job, table, lent)
        if not lent.calls:
            self._desk.give_back(lent.grant.ticket)

    def _answered(self, report: Any) -> None:
        job, table, lent = self._calls.pop(report)
        lent.calls.discard(report)
        try:
            told = ray.get(report)
        except DIED:
            self._died(job, lent)
            return
        except RayTaskError as error:
            raise unwrap(error) from None
        # With the name of its file nobody has to list the cache for it.
        self._finished(job, ObjectStoreShard(table, replace(job, stored=told.stored)), told)
        if self._waiting and not self._desk.keep(lent.grant.ticket):
            # Others wait: what it has is finished, and then it goes back.
            self._waiting.release(lent.grant.ticket)
            if not lent.calls:
                self._desk.give_back(lent.grant.ticket)
            return
        self._hand_out(lent)

    def _died(self, job: ShardJob, lent: _Lent) -> None:
        self._deaths[job.index] += 1
        if self._deaths[job.index] >= MOST_DEATHS:
            raise WorkError(
                f"the worker process died {MOST_DEATHS} times on rows {job.start} to {job.stop - 1}",
                mend="Lower encoder.batch_size or extraction.shard_rows if memory ran out",
            )
        lost = [self._calls.pop(other)[0] for other in list(lent.calls)]
        self._waiting.release(lent.grant.ticket)
        self._waiting.put_back(sorted([job, *lost], key=lambda one: one.index))
        self._desk.give_back(lent.grant.ticket, died=True)


def likes(encoder: EncoderSpec, weights: Weights | None) -> str:
    """What a worker should hold for some work: the encoder with these weights, or the pre-trained ones (None)."""
    return f"{encoder.config.model_dump_json()} {weights.fingerprint if weights else ''}"
