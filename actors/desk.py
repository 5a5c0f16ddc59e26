"""A driver's place at the broker: it asks for workers there, waits, and gives them back."""

from __future__ import annotations

import threading
import time
import uuid
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError

from asvp.actors import broker as brokers
from asvp.actors.broker import TRY, Grant, PoolState, TakenForDeadError
from asvp.actors.cluster import free_resources, node_name
from asvp.actors.shards import DIED, unwrap
from asvp.actors.turns import Request
from asvp.errors import ClusterError, PoolLostError, TeamLostError, WorkError
from asvp.progress import SAY_AFTER_SECONDS, Reporter
from asvp.spent import NOTHING, Span, Spent

MOST_DEATHS = 3
"""Workers that may die on one job."""
_BEGINS_ANEW = 0.2
"""Seconds between two questions to a broker that is being started again."""


@dataclass
class Turn:
    """What a job took to be done.

    Attributes
    ----------
    waited : float
        Seconds in the queue.
    spans : tuple of Span
        When workers were at it; of several, all but the last died of it.
    """

    waited: float = 0.0
    spans: tuple[Span, ...] = ()

    def lose(self, lent: Lent | None) -> None:
        """A worker that was lent, or one of a team, has died of it."""
        if lent is not None:
            self.spans += (lent.span(died=True),)


class Lent:
    """A worker that is lent, since now."""

    def __init__(self, grant: Grant) -> None:
        self.grant = grant
        self._since = time.perf_counter()
        # Asked for now: later this process may have left the cluster.
        self._node = node_name(grant.node)

    def span(self, spent: Spent = NOTHING, *, shards: int = 0, died: bool = False) -> Span:
        """For how long it has been, on the broker's clock: it ends before the broker can lend the worker again."""
        grant, passed = self.grant, time.perf_counter() - self._since
        return Span(grant.names, self._node, grant.at, grant.at + passed, spent, shards, died)


class Desk:
    """One driver at one broker; as long as it is open, the broker is given signs of life.

    Parameters
    ----------
    broker : ActorHandle
    reporter : Reporter
        Told what is awaited when it takes long.
    name : str, optional
        The driver's, for the broker's accounts.
    """

    def __init__(self, broker: Any, reporter: Reporter, name: str | None = None) -> None:
        # Another try of the same trial is another driver: its signs of life are none of one that died before it.
        self.name = f"{name or ''}{TRY}{uuid.uuid4().hex}"
        self._broker = broker
        self._reporter = reporter
        self._closed = threading.Event()
        # The thread does not hold the desk: one that is forgotten is closed.
        weakref.finalize(self, self._closed.set)
        threading.Thread(
            target=_give_signs_of_life,
            args=(broker, self.name, self._closed, reporter.say),
            name="asvp signs of life",
            daemon=True,
        ).start()

    @cached_property
    def workers(self) -> int:
        """How many workers the pool is to have."""
        return self.state().wanted

    def state(self) -> PoolState:
        """How the pool stands."""
        while True:
            with suppress(TakenForDeadError), _broker_lives():
                found: PoolState = ray.get(self._broker.state.remote())
                return found

    def machine(self) -> dict[str, Any]:
        """What the workers work on."""
        while True:
            with suppress(TakenForDeadError), _broker_lives():
                asked = self._broker.machine.remote()
                self.wait([asked], working=False)
                found: dict[str, Any] = ray.get(asked)
                return found

    def ask(
        self,
        *,
        urgent: bool = True,
        width: int = 1,
        likes: str = "",
        near: frozenset[str] = frozenset(),
        team: int = 1,
    ) -> tuple[str, Any]:
        """Queue up for a worker; the ticket, and the reference to the `Grant` that comes."""
        _require_connection()
        ticket = uuid.uuid4().hex
        request = Request(ticket, self.name, urgent, width, likes, near, team)
        return ticket, self._broker.lease.remote(request)

    def granted(self, answer: Any) -> Grant:
        """The worker that was asked for.

        Raises
        ------
        TakenForDeadError
            If the broker heard nothing of this driver for too long, or has begun anew: ask again.
        """
        with _broker_lives():
            grant: Grant = ray.get(answer)
        return grant

    def keep(self, ticket: str) -> bool:
        """Whether a worker may be kept for another piece of the same work."""
        with suppress(TakenForDeadError), _broker_lives():
            kept: bool = ray.get(self._broker.keep.remote(ticket))
            return kept
        # A broker that has begun anew has other workers.
        return False

    def give_back(self, ticket: str, *, died: bool = False, busy: bool = False) -> None:
        """A worker is no longer needed, or dead, or still at what nobody waits for; or a request is withdrawn."""
        if ray.is_initialized():
            self._broker.give_back.remote(ticket, died, busy)

    @contextmanager
    def several(self, count: int) -> Iterator[list[Grant]]:
        """So many workers at the same time, for as long as the block lasts.

        Raises
        ------
        TakenForDeadError
            As `granted`.
        """
        asks = [self.ask() for _ in range(count)]
        try:
            grants = []
            for _, answer in asks:
                self.wait([answer], working=False)
                grants.append(self.granted(answer))
            yield grants
        finally:
            for ticket, _ in asks:
                self.give_back(ticket)

    def wait(self, references: Sequence[Any], *, working: bool, seconds: float | None = None) -> Any:
        """The first of some references that is ready; while none is, say now and then what is awaited.

        Parameters
        ----------
        working : bool
            Whether a worker is at work for this driver: then only workers that do not answer are told of.
        seconds : float, optional
            After which None is returned.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            _require_connection()
            left = SAY_AFTER_SECONDS if end is None else min(SAY_AFTER_SECONDS, max(0.0, end - time.monotonic()))
            ready, _ = ray.wait(list(references), num_returns=1, timeout=left, fetch_local=False)
            if ready:
                return ready[0]
            if end is not None and time.monotonic() >= end:
                return None
            self._explain(working)

    def with_worker(
        self,
        call: Callable[[Grant], Sequence[Any]],
        what: str,
        mend: str,
        *,
        urgent: bool = True,
        width: int = 1,
        likes: str = "",
        near: frozenset[str] = frozenset(),
        team: int = 1,
    ) -> tuple[Sequence[Any], Any, Turn]:
        """Have a worker, or a team, do a job; another one if it dies.

        Parameters
        ----------
        call : callable
            Makes the call of a worker; its references, the last of which is to what is told.
        what, mend : str
            For the error, such as "fitted a proxy".

        Returns
        -------
        references, told, Turn

        Raises
        ------
        WorkError
            If several workers die of the job.
        AsvpError
            Whatever the worker raised on purpose.
        """
        turn, deaths = Turn(), 0
        while deaths < MOST_DEATHS:
            began = time.perf_counter()
            ticket, answer = self.ask(urgent=urgent, width=width, likes=likes, near=near, team=team)
            died, lent = False, None
            try:
                self.wait([answer], working=False)
                lent = Lent(self.granted(answer))
                turn.waited += time.perf_counter() - began
                references = call(lent.grant)
                self.wait([references[-1]], working=True)
                told = ray.get(references[-1])
                turn.spans += (lent.span(),)
                return references, told, turn
            except RayTaskError as error:
                cause = unwrap(error)
                if not isinstance(cause, TeamLostError):
                    raise cause from None
                deaths += 1
                turn.lose(lent)
            except TakenForDeadError:
                continue
            except DIED:
                died = True
                deaths += 1
                turn.lose(lent)
            finally:
                self.give_back(ticket, died=died)
        raise WorkError(f"the worker process died {MOST_DEATHS} times while it {what}", mend=mend or None)

    @contextmanager
    def once(self, key: str | None, *, urgent: bool = True) -> Iterator[None]:
        """Only one driver of the pool is inside with the same key; None: there is nothing to share."""
        if key is None:
            yield
            return
        ticket = self._held(key, urgent)
        try:
            yield
        finally:
            self._let_go(ticket)

    def _let_go(self, ticket: str) -> None:
        if ray.is_initialized():
            self._broker.let_go.remote(ticket)

    def _held(self, key: str, urgent: bool) -> str:
        """The ticket with which a key is one's own."""
        while True:
            ticket = uuid.uuid4().hex
            asked = self._broker.hold.remote(self.name, key, ticket, urgent)
            try:
                with _broker_lives():
                    # Whoever has the key is at work on what is wanted here.
                    self.wait([asked], working=True)
                    ray.get(asked)
            except TakenForDeadError:
                continue
            except BaseException:
                self._let_go(ticket)
                raise
            return ticket

    def close(self) -> None:
        """Leave the pool."""
        if not self._closed.is_set():
            self._closed.set()
            if ray.is_initialized():
                with suppress(RayError):
                    self._broker.leave.remote(self.name)

    def _explain(self, working: bool) -> None:
        state = self.state()
        if state.silent:
            self._reporter.say(f"Waiting for {state.silent}, which will be replaced if it goes on like that")
        elif working:
            return
        elif state.started < state.wanted:
            self._reporter.say(
                f"{state.started} of {state.wanted} workers started; waiting for resources ({free_resources()})"
            )
        else:
            self._reporter.say(f"Waiting for a worker: {state.waiting} jobs in the queue of {state.started}")


def _give_signs_of_life(broker: Any, name: str, closed: threading.Event, say: Callable[[str], None]) -> None:
    """Until the desk is closed, or nobody holds it any more, or this process has left the cluster; say what is new."""
    connection = _connection()
    known: int | None = None
    asked: Any = None
    while not closed.wait(brokers.SIGN_OF_LIFE) and _connection() == connection:
        try:
            if asked is not None and ray.wait([asked], timeout=0)[0]:
                with suppress(RayError):
                    number, text = ray.get(asked)
                    if known not in (None, number):
                        say(text)
                    known = number
            asked = broker.still_here.remote(name)
        except Exception:
            # The broker is gone: whoever asks it for a worker is told.
            return


def _require_connection() -> None:
    """Raise where a thread is still at work in a process that has left its cluster: Ray would start another."""
    if not ray.is_initialized():
        raise PoolLostError("this process has left the Ray cluster while work was under way")


def _connection() -> str | None:
    """Which cluster this process is connected to, if it is; asking a handle for anything would start one."""
    return ray.get_runtime_context().get_job_id() if ray.is_initialized() else None


@contextmanager
def _broker_lives() -> Iterator[None]:
    """A broker that is gone is a `PoolLostError`; what it raised on purpose is raised as it is.

    One that was killed begins anew, and then nothing that was asked of it before counts: a `TakenForDeadError`.
    """
    try:
        yield
    except ActorUnavailableError:
        time.sleep(_BEGINS_ANEW)
        raise TakenForDeadError() from None
    except RayActorError:
        raise PoolLostError(
            "the process that lends the workers of the pool has died, and with it the pool",
            mend="Nothing that was finished is lost: resume the run or the sweep",
        ) from None
    except RayTaskError as error:
        cause = getattr(error, "cause", None)
        raise cause if isinstance(cause, (ClusterError, TakenForDeadError)) else error from None
