"""Who gets which worker next: the rules of the broker, in plain Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class Request:
    """A driver asks for a worker.

    Attributes
    ----------
    ticket : str
        Of this request alone.
    driver : str
    urgent : bool
        Whether a loop of rounds waits for it; other work goes after all that is urgent.
    width : int
        Workers of one node that the job could use at once, its threads on the cores of all; it gets one at least.
    likes : str
        What a worker should hold already, such as an encoder with some weights.
    near : frozenset of str
        Nodes that hold what the job reads.
    team : int
        Workers of one node that the job cannot do without, each of which works at it.
    """

    ticket: str
    driver: str
    urgent: bool = True
    width: int = 1
    likes: str = ""
    near: frozenset[str] = frozenset()
    team: int = 1


@dataclass(frozen=True)
class Lease:
    """Workers that a driver has for one job: the first does it; the others help, or lend it their cores."""

    request: Request
    workers: tuple[str, ...]


@dataclass
class _Worker:
    node: str
    holds: str = ""
    lease: str | None = None


@dataclass
class Turns:
    """Idle workers, waiting requests, and whose turn it is.

    Drivers take turns: of those that wait, the one that was served longest ago is next, with the oldest of its urgent
    requests; what is not urgent waits until nothing is. Nobody gets more workers for one job than its even share while
    others are in the pool too, and what is not urgent gets one: a loop may ask for the others at any time.

    A team is lent at once or not at all. When its turn comes and no node has enough idle workers, the node that lacks
    fewest is kept for it: its workers, as they come back, are not lent to requests behind it until the team is whole.
    A node is kept for one team at a time, and no team holds a part of its workers, so two never wait for each other.

    Attributes
    ----------
    lends_cores : bool
        Whether a job may use the cores of idle workers beside its own; not where each holds a GPU, which would idle.
    served : dict of str to int
        Leases that each driver has had.
    """

    lends_cores: bool = True
    served: dict[str, int] = field(default_factory=dict)
    _workers: dict[str, _Worker] = field(default_factory=dict)
    _waiting: dict[str, Request] = field(default_factory=dict)
    _leases: dict[str, Lease] = field(default_factory=dict)
    _last: dict[str, float] = field(default_factory=dict)
    _count: int = 0

    @property
    def workers(self) -> int:
        """How many workers there are, idle or not."""
        return len(self._workers)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._waiting)

    def join(self, driver: str) -> None:
        """A driver is here; twice does no harm."""
        if driver not in self._last:
            # A newcomer goes behind all but the one that was served last.
            self._last[driver] = self._count - 0.5
            self.served[driver] = 0

    def leave(self, driver: str) -> list[Lease]:
        """A driver is gone, and with it its requests; the leases it held, which are still out."""
        self._last.pop(driver, None)
        self._waiting = {ticket: one for ticket, one in self._waiting.items() if one.driver != driver}
        return [lease for lease in self._leases.values() if lease.request.driver == driver]

    def add(self, worker: str, node: str) -> None:
        """A worker has started, and is idle."""
        self._workers[worker] = _Worker(node)

    def remove(self, worker: str) -> None:
        """A worker is gone."""
        self._workers.pop(worker, None)

    def ask(self, request: Request) -> None:
        """Queue up."""
        self.join(request.driver)
        self._waiting[request.ticket] = request

    def hurry(self, driver: str) -> None:
        """What a driver waits for is urgent from now on: a loop waits for it too."""
        for ticket, request in self._waiting.items():
            if request.driver == driver:
                self._waiting[ticket] = replace(request, urgent=True)

    def idle_on(self, node: str) -> list[str]:
        """Idle workers of a node."""
        return [name for name, worker in self._workers.items() if worker.node == node and worker.lease is None]

    def node_of(self, worker: str) -> str | None:
        """Where a worker is, if it is known."""
        return self._workers[worker].node if worker in self._workers else None

    def withdraw(self, ticket: str) -> None:
        """A request is no longer wanted; what it was given goes back."""
        self._waiting.pop(ticket, None)
        self.give_back(ticket)

    def give_back(self, ticket: str) -> None:
        """A job has ended; its workers are idle."""
        lease = self._leases.pop(ticket, None)
        if lease is None:
            return
        for name in lease.workers:
            if name in self._workers:
                self._workers[name].lease = None

    def others_wait(self, ticket: str) -> bool:
        """Whether the holder of a lease should give way to another driver, or to work that goes before its own."""
        lease = self._leases.get(ticket)
        if lease is None:
            return True
        mine = lease.request
        return any(one.driver != mine.driver and (one.urgent or not mine.urgent) for one in self._waiting.values()) or (
            not mine.urgent and any(one.urgent for one in self._waiting.values())
        )

    def most_on_a_node(self) -> int:
        """Workers of the node that has most."""
        return max(Counter(worker.node for worker in self._workers.values()).values(), default=0)

    def teams_above(self, most: int) -> dict[str, Request]:
        """Requests that wait for more workers than so many, by their tickets."""
        return {ticket: request for ticket, request in self._waiting.items() if request.team > most}

    def grants(self) -> Iterator[Lease]:
        """Give idle workers to those whose turn it is, until one of them runs out."""
        waits_on: set[str] = set()
        kept_nodes: set[str] = set()
        while True:
            idle = self._idle(but=kept_nodes)
            waiting = [one for one in self._waiting.values() if one.ticket not in waits_on]
            if not idle or not waiting:
                return
            request = min(waiting, key=self._turn)
            chosen = self._chosen(request, idle) if request.team == 1 else self._team(request, idle)
            if not chosen:
                waits_on.add(request.ticket)
                kept_nodes |= self._kept_for(request, but=kept_nodes)
                continue
            yield self._lent(request, chosen)

    def _lent(self, request: Request, chosen: tuple[str, ...]) -> Lease:
        del self._waiting[request.ticket]
        lease = Lease(request, chosen)
        self._leases[request.ticket] = lease
        for name in chosen:
            self._workers[name].lease = request.ticket
        for name in chosen[: request.team]:
            self._workers[name].holds = request.likes or self._workers[name].holds
        self._count += 1
        self._last[request.driver] = self._count
        self.served[request.driver] += 1
        return lease

    def _turn(self, request: Request) -> tuple[bool, float]:
        # Equal ones keep the order in which they came.
        return not request.urgent, self._last[request.driver]

    def _idle(self, but: Set[str] = frozenset()) -> dict[str, _Worker]:
        return {name: one for name, one in self._workers.items() if one.lease is None and one.node not in but}

    def _chosen(self, request: Request, idle: Mapping[str, _Worker]) -> tuple[str, ...]:
        """The idle worker that suits a request best, and idle ones of its node beside it."""
        first = max(idle, key=lambda name: _merit(request, idle[name]))
        beside = [name for name in idle if name != first and idle[name].node == idle[first].node]
        # Those that hold nothing are lent first.
        beside.sort(key=lambda name: bool(idle[name].holds))
        even = max(1, len(self._workers) // max(1, len(self._last)))
        width = min(request.width, even) if self.lends_cores and request.urgent else 1
        return (first, *beside[: width - 1])

    def _team(self, request: Request, idle: Mapping[str, _Worker]) -> tuple[str, ...]:
        """The idle workers of one node that suit a team best; nobody where no node has enough."""
        counts = Counter(worker.node for worker in idle.values())
        fitting = [name for name in idle if counts[idle[name].node] >= request.team]
        if not fitting:
            return ()
        first = max(fitting, key=lambda name: _merit(request, idle[name]))
        others = [name for name in fitting if name != first and idle[name].node == idle[first].node]
        others.sort(key=lambda name: _merit(request, idle[name]), reverse=True)
        return (first, *others[: request.team - 1])

    def _kept_for(self, request: Request, but: Set[str]) -> set[str]:
        """The node whose workers a team waits for: of those that have enough, the one that lacks fewest now."""
        counts = Counter(worker.node for worker in self._workers.values() if worker.node not in but)
        enough = [node for node, count in counts.items() if count >= request.team]
        return {max(enough, key=lambda node: len(self.idle_on(node)))} if enough else set()


def _merit(request: Request, worker: _Worker) -> tuple[bool, bool, bool]:
    return worker.node in request.near, bool(request.likes) and worker.holds == request.likes, not worker.holds


@dataclass
class Keys:
    """Work that is done once: of those that want the same, one is at it, and the others wait in line."""

    _lines: dict[str, list[str]] = field(default_factory=dict)

    def ask(self, key: str, ticket: str) -> bool:
        """Stand in line for a key; whether it is one's own at once."""
        line = self._lines.setdefault(key, [])
        line.append(ticket)
        return line[0] == ticket

    def holder(self, key: str) -> str | None:
        """The ticket that has a key."""
        line = self._lines.get(key)
        return line[0] if line else None

    def let_go(self, key: str, ticket: str) -> str | None:
        """Leave the line; who has the key now in one's place, if somebody has."""
        line = self._lines.get(key, [])
        if ticket not in line:
            return None
        had_it = line[0] == ticket
        line.remove(ticket)
        if not line:
            del self._lines[key]
            return None
        return line[0] if had_it else None
