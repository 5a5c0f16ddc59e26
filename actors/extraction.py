"""Extraction by actors: shards are handed out as actors become free, and redone when an actor dies."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayTaskError

from asvp.actors.shards import DIED, ObjectStoreShard, unwrap
from asvp.compute.session import ShardJob, ShardReport
from asvp.errors import WorkError

# One shard in the forward pass and one being read.
_IN_FLIGHT = 2
_MOST_DEATHS = 3


@dataclass(frozen=True)
class Member:
    """An actor of the team, and the reference to the end of its `open`."""

    worker: Any
    opened: Any


@dataclass(frozen=True)
class _Call:
    task: ShardJob
    place: int
    table: Any


def extract_shards(
    team: list[Member],
    hire: Callable[[], Member],
    key: str,
    tasks: Sequence[ShardJob],
    done: Callable[[ShardJob, ObjectStoreShard, ShardReport], None],
) -> None:
    """Have a team of `Worker` actors extract shards; the tables stay in the object store.

    Parameters
    ----------
    team : list of Member
        Each opened for the source `key`. A dead one is replaced in the list, by what `hire` returns.
    done : callable
        Told of each finished shard, in the order they finish.

    Raises
    ------
    WorkError
        If one shard killed several actors.
    AsvpError
        Whatever an actor raised on purpose.
    """
    waiting = deque(tasks)
    calls: dict[Any, _Call] = {}
    busy: Counter[int] = Counter()
    deaths: Counter[int] = Counter()

    def hand_out() -> None:
        for _ in range(_IN_FLIGHT):
            for place, member in enumerate(team):
                if waiting and busy[place] < _IN_FLIGHT:
                    task = waiting.popleft()
                    table, report = member.worker.extract.options(num_returns=2).remote(member.opened, key, task)
                    calls[report] = _Call(task, place, table)
                    busy[place] += 1

    hand_out()
    while calls:
        [report], _ = ray.wait(list(calls), num_returns=1, fetch_local=False)
        call = calls.pop(report)
        busy[call.place] -= 1
        try:
            told: ShardReport = ray.get(report)
        except DIED:
            deaths[call.task.index] += 1
            if deaths[call.task.index] >= _MOST_DEATHS:
                raise WorkError(
                    f"the worker process died {_MOST_DEATHS} times on rows {call.task.start} to {call.task.stop - 1}",
                    mend="Lower encoder.batch_size or extraction.shard_rows if memory ran out",
                ) from None
            lost = [other for other, held in calls.items() if held.place == call.place]
            waiting.extendleft(held.task for held in (calls.pop(other) for other in reversed(lost)))
            waiting.appendleft(call.task)
            busy[call.place] = 0
            team[call.place] = hire()
        except RayTaskError as error:
            raise unwrap(error) from None
        else:
            done(call.task, ObjectStoreShard(call.table, call.task), told)
        hand_out()


def team_rate(team: list[Member], hire: Callable[[], Member], key: str, tasks: Sequence[ShardJob]) -> float:
    """Rows a second of a team of which every member extracts the same tasks at the same time; the tables go."""
    rows = 0

    def count(task: ShardJob, shard: ObjectStoreShard, report: ShardReport) -> None:
        nonlocal rows
        rows += report.rows

    began = time.perf_counter()
    extract_shards(team, hire, key, [task for task in tasks for _ in team], count)
    return rows / (time.perf_counter() - began)
