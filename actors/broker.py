"""The broker: an actor that starts the workers of a pool and lends them to drivers, a job at a time."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import ray

from asvp.actors import metrics
from asvp.actors.shards import DIED
from asvp.actors.turns import Keys, Lease, Request, Turns
from asvp.compute.placement import Placement, too_large_a_team
from asvp.errors import ClusterError
from asvp.progress import SAY_AFTER_SECONDS
from asvp.spent import Share

PATIENCE = 20.0
"""Seconds without a sign of life after which a driver is taken for dead."""
QUANTUM = 5.0
"""Seconds in which a worker that extracts on is not asked back: changing its encoder takes one or two."""
SIGN_OF_LIFE = 3.0
"""Seconds between two signs of life."""
TRY = "#"
"""Between a driver's name and what tells its tries apart."""
SILENCE = 120.0
"""Seconds without an answer after which a worker is ended and replaced; one that computes answers meanwhile."""
_TOLD_SILENCE = 6
"""Silences of which drivers are told are as many times shorter."""
_LOOK = 2.0
"""Seconds between two looks at who is alive."""
_START_FAILURES = 3
"""Workers that may die at their start, one after the other, before it is said that none can be started."""


class TakenForDeadError(Exception):
    """A driver gave no sign of life for a while, and what it waited for was given to others: it has to ask again."""


@dataclass(frozen=True)
class Grant:
    """A worker, lent for a job.

    Attributes
    ----------
    ticket : str
        What it was asked for with, and is given back with.
    worker : ActorHandle
    share : Share
        What the job holds: the worker's own, and the cores of idle workers beside it.
    beside : tuple of ActorHandle
        The others of a team, each with a share like the worker's.
    names : tuple of str
        Of all workers that are lent, this one's first.
    node : str
        Ray's id of theirs.
    at : float
        When, in seconds since 1970: the broker's clock is that of all drivers, wherever they are.
    """

    ticket: str
    worker: Any
    share: Share
    beside: tuple[Any, ...] = ()
    names: tuple[str, ...] = ()
    node: str = ""
    at: float = 0.0


@dataclass(frozen=True)
class PoolState:
    """How a pool stands.

    Attributes
    ----------
    started, wanted : int
        Workers.
    waiting : int
        Requests in the queue.
    silent : str
        Workers that do not answer, in words; empty if all do.
    served : dict of str to int
        Leases that each driver has had, in all its tries.
    """

    started: int
    wanted: int
    waiting: int
    silent: str = ""
    served: dict[str, int] = field(default_factory=dict)


class News(NamedTuple):
    """What a worker has told, for whoever has not heard it, which the number shows."""

    number: int
    text: str


class _Broker:
    """Holds no features and does no work: it knows who is idle and whose turn it is.

    Parameters
    ----------
    worker : ActorClass
        With its resources; made with no arguments beyond `arguments`.
    arguments : tuple
    placement : Placement
    quantum, patience, silence : float
        As `QUANTUM`, `PATIENCE` and `SILENCE`.
    """

    def __init__(
        self,
        worker: Any,
        arguments: tuple[Any, ...],
        placement: Placement,
        quantum: float,
        patience: float,
        silence: float,
    ) -> None:
        self._class = worker
        self._arguments = arguments
        self._placement = placement
        self._quantum = quantum
        self._patience = patience
        self._silence = silence
        self._answered: dict[str, float] = {}
        self._news = News(0, "")
        self._told = -math.inf
        self._turns = Turns(lends_cores=not placement.gpus)
        self._keys = Keys()
        self._handles: dict[str, Any] = {}
        self._answers: dict[str, tuple[str, asyncio.Future[Any]]] = {}
        self._given: dict[str, tuple[Lease, float]] = {}
        self._held: dict[str, tuple[str, str]] = {}
        self._seen: dict[str, float] = {}
        self._machine: dict[str, Any] = {}
        self._begun = False
        self._failures = 0
        self._failed: ClusterError | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        # The clock of the machine may be set while a pool works; this one only goes on.
        self._epoch = time.time() - time.monotonic()

    async def start(self) -> None:
        """Start the workers; it does not wait for them. Whatever is asked of a broker that begins anew does so too."""
        if self._begun:
            return
        self._begun = True
        for _ in range(self._placement.workers):
            self._spawn(self._hire())
        self._spawn(self._watch())

    async def lease(self, request: Request) -> Grant:
        """A worker, when it is the driver's turn.

        Raises
        ------
        ClusterError
            If no worker can be started.
        """
        await self.start()
        self.alive(request.driver)
        if self._failed is not None:
            raise self._failed
        answer = self._answer(request.driver, request.ticket)
        self._turns.ask(request)
        self._serve()
        grant: Grant = await answer
        return grant

    async def keep(self, ticket: str) -> bool:
        """Whether a worker may be kept for another piece of the same work; it is given back otherwise."""
        lease, since = self._given.get(ticket, (None, 0.0))
        if lease is None:
            return False
        return time.monotonic() - since < self._quantum or not self._turns.others_wait(ticket)

    async def give_back(self, ticket: str, died: bool = False, busy: bool = False) -> None:
        """A job has ended, or a request is withdrawn; a worker that died is replaced, a busy one waited for."""
        if busy and ticket in self._given:
            self._spawn(self._recover(self._given[ticket][0]))
            return
        lease, _ = self._given.pop(ticket, (None, 0.0))
        self._turns.withdraw(ticket)
        if ticket in self._answers:
            self._answers.pop(ticket)[1].cancel()
        if died and lease is not None:
            self._replace(lease.workers[0])
        self._serve()

    async def hold(self, driver: str, key: str, ticket: str, urgent: bool = True) -> None:
        """Wait until nobody else is at the work with this key; from then on it is the driver's."""
        await self.start()
        self.alive(driver)
        self._held[ticket] = (driver, key)
        if self._keys.ask(key, ticket):
            return
        if urgent:
            # Whoever is to do it may still wait for a worker, behind all loops.
            self._turns.hurry(self._held[self._keys.holder(key) or ticket][0])
        await self._answer(driver, ticket)

    async def let_go(self, ticket: str) -> None:
        """The work is done or failed: the next in line may look, or try."""
        _, key = self._held.pop(ticket, ("", ""))
        following = self._keys.let_go(key, ticket)
        if following is not None and following in self._answers:
            self._answers.pop(following)[1].set_result(None)

    def alive(self, driver: str) -> None:
        """A sign of life."""
        self._seen[driver] = time.monotonic()
        self._turns.join(driver)

    async def still_here(self, driver: str) -> News:
        """A sign of life of a driver that waits or works; what workers have told last."""
        self.alive(driver)
        return self._news

    async def leave(self, driver: str) -> None:
        """A driver is done, or dead: what it waited for is free, what it has lent out comes back when it is idle."""
        self._seen.pop(driver, None)
        for lease in self._turns.leave(driver):
            self._spawn(self._recover(lease))
        for ticket in [ticket for ticket, (owner, _) in self._held.items() if owner == driver]:
            await self.let_go(ticket)
        for ticket in [ticket for ticket, (owner, _) in self._answers.items() if owner == driver]:
            self._answers.pop(ticket)[1].set_exception(TakenForDeadError())

    async def machine(self) -> dict[str, Any]:
        """What the first worker that started tells of its machine."""
        await self.start()
        while not self._machine:
            if self._failed is not None:
                raise self._failed
            await asyncio.sleep(0.05)
        return {**self._machine, "workers": self._placement.workers}

    async def state(self) -> PoolState:
        """How the pool stands."""
        served: Counter[str] = Counter()
        for driver, leases in self._turns.served.items():
            name, _, number = driver.rpartition(TRY)
            served[name or number] += leases
        return PoolState(
            self._turns.workers, self._placement.workers, self._turns.waiting, self._silent(), dict(served)
        )

    def _silent(self) -> str:
        """Workers that have not answered for a while, in words."""
        now = time.monotonic()
        silent = {name: now - at for name, at in self._answered.items() if now - at > self._silence / _TOLD_SILENCE}
        if not silent:
            return ""
        longest = max(silent, key=lambda name: silent[name])
        place = f"on node {str(self._turns.node_of(longest))[:8]}, silent for {silent[longest]:.0f} s"
        return f"{len(silent)} of {len(self._handles)} workers (one {place})"

    def _answer(self, driver: str, ticket: str) -> asyncio.Future[Any]:
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[ticket] = (driver, answer)
        return answer

    def _serve(self) -> None:
        for lease in self._turns.grants():
            ticket = lease.request.ticket
            _, answer = self._answers.pop(ticket)
            now = time.monotonic()
            self._given[ticket] = (lease, now)
            first, *others = (self._handles[name] for name in lease.workers)
            team = lease.request.team > 1
            share = Share(self._placement.cpus * (1 if team else len(lease.workers)), self._placement.gpus)
            node = self._turns.node_of(lease.workers[0]) or ""
            beside = tuple(others) if team else ()
            answer.set_result(Grant(ticket, first, share, beside, lease.workers, node, self._epoch + now))
        if self._turns.workers >= self._placement.workers:
            self._refuse_teams(self._turns.most_on_a_node())

    def _refuse_teams(self, most: int) -> None:
        """Tell those whose team no node can hold, now that all workers are there."""
        for ticket, request in self._turns.teams_above(most).items():
            self._turns.withdraw(ticket)
            self._answers.pop(ticket)[1].set_exception(too_large_a_team(request.team, most))

    def _replace(self, worker: str) -> None:
        """Another in place of a worker that died; those beside it are lent again when they have answered."""
        node = self._turns.node_of(worker)
        self._turns.remove(worker)
        if self._handles.pop(worker, None) is None:
            return
        self._spawn(self._hire())
        for name in self._turns.idle_on(node) if node is not None else ():
            self._turns.remove(name)
            self._spawn(self._look_after(name))

    async def _look_after(self, name: str) -> None:
        """Lend a worker again if it answers: its node may be lost."""
        handle = self._handles.get(name)
        if handle is None:
            return
        with suppress(*DIED):
            _, node, _ = await handle.hello.remote()
            if name in self._handles:
                self._turns.add(name, node)
                self._serve()

    async def _outlive(self, name: str, handle: Any) -> None:
        """Replace a worker when it dies, whether somebody has it or not."""
        asking = asyncio.get_running_loop().create_task(self._ask_after(name, handle))
        with suppress(*DIED):
            await handle.live.remote()
        asking.cancel()
        self._answered.pop(name, None)
        self._replace(name)
        self._serve()

    async def _ask_after(self, name: str, handle: Any) -> None:
        """End a worker that answers no more, though its process lives: stopped, or waiting for ever."""
        while True:
            self._answered[name] = time.monotonic()
            await asyncio.sleep(min(_LOOK, self._silence / 4))
            try:
                told = await asyncio.wait_for(handle.answer.remote(), self._silence)
            except TimeoutError:
                ray.kill(handle)
                return
            except DIED:
                return
            # One speaks for all of them: they wait for the same.
            if told and time.monotonic() - self._told >= SAY_AFTER_SECONDS:
                self._told = time.monotonic()
                self._news = News(self._news.number + 1, told)

    async def _hire(self) -> None:
        """Start a worker; it is lent once it has said that it is there."""
        handle = self._class.remote(*self._arguments)
        try:
            name, node, machine = await handle.hello.remote()
        except (*DIED, ray.exceptions.RayTaskError) as error:
            self._failures += 1
            if self._failures < _START_FAILURES + self._placement.workers:
                await self._hire()
            elif not self._handles:
                self._fail(error)
            return
        self._failures = 0
        self._machine = self._machine or machine
        self._handles[name] = handle
        self._turns.add(name, node)
        self._spawn(self._outlive(name, handle))
        self._serve()

    def _fail(self, error: Exception) -> None:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[-1]
        self._failed = ClusterError(
            f"no worker can be started: {reason}", mend="Look at Ray's logs of the nodes, and at their memory"
        )
        for ticket, (_, answer) in self._answers.items():
            self._turns.withdraw(ticket)
            answer.set_exception(self._failed)
        self._answers.clear()

    async def _recover(self, lease: Lease) -> None:
        """Take back what a driver that is gone had; the job it left is finished first."""
        for name in lease.workers:
            handle = self._handles.get(name)
            if handle is not None:
                # One that dies meanwhile is replaced by whoever outlives it.
                with suppress(*DIED):
                    await handle.rest.remote()
        await self.give_back(lease.request.ticket)

    async def _watch(self) -> None:
        """Take drivers that give no sign of life for dead."""
        while True:
            await asyncio.sleep(min(_LOOK, self._patience / 2))
            self._show()
            now = time.monotonic()
            for driver in [driver for driver, seen in self._seen.items() if now - seen > self._patience]:
                await self.leave(driver)

    def _show(self) -> None:
        """The numbers of the pool, for whoever watches the cluster."""
        pool = str(ray.get_runtime_context().get_actor_id())[:8]
        metrics.show("asvp_workers", self._turns.workers, pool=pool)
        metrics.show("asvp_workers_busy", sum(len(lease.workers) for lease, _ in self._given.values()), pool=pool)
        metrics.show("asvp_requests_waiting", self._turns.waiting, pool=pool)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        # A task that nobody holds may be collected before it has run.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


Broker: Any = ray.remote(_Broker)
"""An actor whose calls run beside each other; it holds no core."""
