"""Who trains a model together with a session: nobody, or others of the same node."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import torch

from asvp.models.head import Head
from asvp.models.training.team import Alone, Team, come, process_team, reach_store


@dataclass(frozen=True)
class Seat:
    """A place in a team for one try of a training; the first of the team gives it to the others.

    Attributes
    ----------
    rank, size : int
    port : int
        Where the team meets.
    head : Head or None
        That all start from.
    micro_batch : int or None
        Most rows that go through a model together.
    """

    rank: int
    size: int
    port: int
    head: Head | None
    micro_batch: int | None


class Mates(Protocol):
    """The others of a team, as the first of it sees them.

    Attributes
    ----------
    size : int
        Of the team, the first included.
    """

    @property
    def size(self) -> int: ...

    def training(
        self, head: Head | None, micro_batch: int | None, device: Callable[[], torch.device]
    ) -> AbstractContextManager[Team]:
        """The team for one try of a training; `device` loads the encoder and tells where it is.

        Raises
        ------
        AsvpError
            What one of the others raised on purpose, in place of a TeamLostError.
        TeamLostError
            If one of them has died, or does not answer.
        """
        ...


class NoMates:
    """Who trains alone."""

    size = 1

    @contextmanager
    def training(
        self, head: Head | None, micro_batch: int | None, device: Callable[[], torch.device]
    ) -> Iterator[Team]:
        """A team of one."""
        yield Alone()


@contextmanager
def seated(seat: Seat, device: Callable[[], torch.device]) -> Iterator[Team]:
    """The team, as one of those beside the first sees it; raises TeamLostError as `process_team`."""
    store = reach_store(seat.port)
    where = device()
    come(store)
    with process_team(store, seat.rank, seat.size, where) as team:
        yield team
