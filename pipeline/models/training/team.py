"""Several processes of a node that train one model together, each on a piece of every batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Protocol

import torch
import torch.distributed
from torch import Tensor

from asvp.errors import TeamLostError

Store = Any
"""A `torch.distributed.Store`, through which processes find each other."""

# Which of its classes there are depends on how PyTorch was built.
dist: Any = torch.distributed
_HERE = "127.0.0.1"
_ANSWER = timedelta(minutes=10)
"""Without a word from another process after which it is taken for lost; that one has ended is known at once."""
_MEET = timedelta(hours=1)
"""In which all have loaded their encoders."""
_READY, _BEGINS, _YES, _NO = "ready", "begins", b"yes", b"no"
_MOST_AT_ONCE = 1 << 24
"""Numbers that are added in one message: a message a tensor would cost more than the numbers, one of all a copy."""


class Team(Protocol):
    """Those who train one model together, seen by one of them.

    Attributes
    ----------
    rank : int
        This one's number, from 0.
    size : int
        How many they are.
    """

    rank: int
    size: int

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Take over the numbers that the first one has, in place.

        Raises
        ------
        TeamLostError
            If another process has ended, or does not answer.
        """

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Within, one's own piece of a batch is computed; a failure there ends the others' training too.

        Raises
        ------
        TeamLostError
            If another has failed at its own piece, has ended, or does not answer.
        """
        yield

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put in place of each tensor its sum over all, rounded alike everywhere; raises as `agree`."""


class Alone:
    """A team of one."""

    rank, size = 0, 1

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """There is nobody to agree with."""

    @contextmanager
    def piece(self) -> Iterator[None]:
        """The piece is the batch."""
        yield

    def add(self, tensors: Sequence[Tensor]) -> None:
        """The sum of one is itself."""


class ProcessTeam:
    """Processes that have met at a store.

    Parameters
    ----------
    words : ProcessGroup
        On CPUs: it notices at once when a process ends, and waits for no GPU.
    numbers : ProcessGroup
        Where the model is.
    """

    def __init__(self, rank: int, size: int, words: Any, numbers: Any) -> None:
        self.rank = rank
        self.size = size
        self._words = words
        self._numbers = numbers

    def agree(self, tensors: Iterable[Tensor]) -> None:
        """Take over the numbers that the first one has, in place."""
        with _lost_errors():
            for tensor in tensors:
                self._numbers.broadcast(tensor, 0).wait()

    @contextmanager
    def piece(self) -> Iterator[None]:
        """Within, one's own piece of a batch is computed; a failure there ends the others' training too."""
        try:
            yield
        except TeamLostError:
            raise
        except Exception:
            self._failures(1)
            raise
        if self._failures(0):
            raise TeamLostError("another process that trains the model too has failed")

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Put in place of each tensor its sum over all."""
        for some in _messages(tensors):
            flat = torch.cat([tensor.reshape(-1) for tensor in some])
            with _lost_errors():
                self._numbers.allreduce([flat]).wait()
            for tensor, part in zip(some, torch.split(flat, [tensor.numel() for tensor in some]), strict=True):
                tensor.copy_(part.view_as(tensor))

    def leave(self, *, failed: bool = False) -> None:
        """Let the connections go, after which the others miss this one if they still need it."""
        numbers, self._numbers, self._words = self._numbers, None, None
        if failed:
            # What is queued on a GPU may wait for a process that is gone.
            numbers.abort()
        else:
            numbers.shutdown()

    def _failures(self, own: int) -> int:
        """How many have failed."""
        count = torch.tensor([own])
        with _lost_errors():
            self._words.allreduce([count]).wait()
        return int(count)


def open_store() -> Store:
    """Where a team of this node meets; the first opens it and tells the others its `port`."""
    return dist.TCPStore(_HERE, 0, is_master=True, timeout=_MEET, wait_for_workers=False)


def reach_store(port: int) -> Store:
    """The store that the first of a team has opened.

    Raises
    ------
    TeamLostError
        If it is not there any more.
    """
    with _lost_errors():
        return dist.TCPStore(_HERE, port, is_master=False, timeout=_MEET, wait_for_workers=False)


def come(store: Store) -> None:
    """Say that one is ready to meet the others, and wait until the first of them says that it begins.

    Raises
    ------
    TeamLostError
        If it does not begin, or the first is gone.
    """
    with _lost_errors():
        store.add(_READY, 1)
        begins = store.get(_BEGINS) == _YES
    if not begins:
        raise TeamLostError("the training does not begin: another process has failed")


def ready(store: Store) -> int:
    """How many have come."""
    count: int = store.add(_READY, 0)
    return count


def begin(store: Store, begins: bool = True) -> None:
    """Tell those who have come, or will, whether it begins."""
    store.set(_BEGINS, _YES if begins else _NO)


@contextmanager
def process_team(store: Store, rank: int, size: int, device: torch.device) -> Iterator[ProcessTeam]:
    """The team, once all have come: gloo on CPUs, NCCL on GPUs.

    Raises
    ------
    TeamLostError
        If not all come.
    """
    team = ProcessTeam(rank, size, *_groups(store, rank, size, device))
    try:
        yield team
    except BaseException:
        team.leave(failed=True)
        raise
    team.leave()


def piece_of(team: Team, rows: int) -> tuple[int, int]:
    """First and last (exclusive) row of a batch for one of a team; the same where there are fewer rows than members."""
    return rows * team.rank // team.size, rows * (team.rank + 1) // team.size


def _groups(store: Store, rank: int, size: int, device: torch.device) -> tuple[Any, Any]:
    with _lost_errors():
        words = _gloo(dist.PrefixStore("words", store), rank, size)
        if device.type == "cpu":
            return words, words
        return words, _nccl(dist.PrefixStore("numbers", store), rank, size)


def _gloo(store: Store, rank: int, size: int) -> Any:
    options = dist.ProcessGroupGloo._Options()
    options._timeout = _ANSWER
    # The machine's name may stand for an address that does not lead here.
    options._devices = [dist.ProcessGroupGloo.create_device(hostname=_HERE)]
    return dist.ProcessGroupGloo(store, rank, size, options)


def _nccl(store: Store, rank: int, size: int) -> Any:
    options = dist.ProcessGroupNCCL.Options()
    options._timeout = _ANSWER
    return dist.ProcessGroupNCCL(store, rank, size, options)


def _messages(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Neighbours together, as long as they are not too much for one message."""
    some: list[Tensor] = []
    for tensor in tensors:
        if some and sum(one.numel() for one in some) + tensor.numel() > _MOST_AT_ONCE:
            yield some
            some = []
        some.append(tensor)
    if some:
        yield some


@contextmanager
def _lost_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise TeamLostError(f"a process that trains the model too is lost: {reason}") from None
