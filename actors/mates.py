"""The others of a team as workers of the pool: they are called for each try of a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray
import torch
from ray.exceptions import RayTaskError

from asvp.actors.shards import DIED, unwrap
from asvp.compute.jobs import TrainingOrder
from asvp.compute.mates import Seat
from asvp.errors import TeamLostError
from asvp.models.head import Head
from asvp.models.training.team import Store, Team, begin, open_store, process_team, ready
from asvp.spent import Share

_LOOK = 0.05
"""Seconds between two looks at who is ready."""
_END = 60.0
"""Seconds in which those who have been left, or are done, end their call; who does not is killed."""


class WorkerMates:
    """Workers of the same node, each called with a seat.

    Parameters
    ----------
    order : TrainingOrder
    share : Share
        Of each.
    handles : sequence of ActorHandle
    """

    def __init__(self, order: TrainingOrder, share: Share, handles: Sequence[Any]) -> None:
        self._order = ray.put(order)
        self._share = share
        self._handles = handles

    @property
    def size(self) -> int:
        """Of the team, the caller included."""
        return 1 + len(self._handles)

    @contextmanager
    def training(
        self, head: Head | None, micro_batch: int | None, device: Callable[[], torch.device]
    ) -> Iterator[Team]:
        """The team for one try, as `asvp.compute.mates.Mates` says."""
        store = open_store()
        seats = [Seat(rank, self.size, store.port, head, micro_batch) for rank in range(1, self.size)]
        calls = [
            handle.train_beside.remote(self._order, self._share, seat)
            for handle, seat in zip(self._handles, seats, strict=True)
        ]
        try:
            self._meet(store, calls, device)
            with process_team(store, 0, self.size, device()) as team:
                yield team
        except TeamLostError as error:
            self._end(calls)
            raise _own_error(calls) or error from None
        finally:
            self._end(calls)

    def _meet(self, store: Store, calls: list[Any], device: Callable[[], torch.device]) -> None:
        """Begin when all are ready; where one fails before that, it begins for nobody."""
        begins = False
        try:
            device()
            while ready(store) < len(calls):
                ended, _ = ray.wait(calls, num_returns=1, timeout=_LOOK)
                if ended:
                    raise TeamLostError("another process was to train the model too, and has ended")
            begins = True
        finally:
            begin(store, begins)

    def _end(self, calls: list[Any]) -> None:
        ended, _ = ray.wait(calls, num_returns=len(calls), timeout=_END)
        for handle, call in zip(self._handles, calls, strict=True):
            if call not in ended:
                # The broker starts another in its place.
                ray.kill(handle)


def _own_error(calls: Sequence[Any]) -> BaseException | None:
    """What one of them failed of, if it was not the end of another."""
    for call in calls:
        try:
            ray.get(call)
        except RayTaskError as error:
            cause = unwrap(error)
            if not isinstance(cause, TeamLostError):
                return cause
        except DIED:
            continue
    return None
