"""What work cost when it was done: seconds of a device, whoever waited for it; and who did it when."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any


@dataclass(frozen=True)
class Spent:
    """Busy time of whoever did some work; waiting for a turn is no part of it.

    Attributes
    ----------
    seconds : float
        In which a worker was busy with it; those of several workers are added.
    cpu_seconds, gpu_seconds : float
        The same times the cores and the share of a GPU that the worker holds.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    gpu_seconds: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.seconds + other.seconds,
            self.cpu_seconds + other.cpu_seconds,
            self.gpu_seconds + other.gpu_seconds,
        )

    def times(self, factor: float) -> Spent:
        """So many times as much."""
        return Spent(self.seconds * factor, self.cpu_seconds * factor, self.gpu_seconds * factor)

    def as_json(self) -> dict[str, float]:
        """Plain values, as `from_json` reads them."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Any) -> Spent | None:
        """What `as_json` gave; None for anything else."""
        names = cls.__dataclass_fields__
        if not isinstance(stored, Mapping) or not names.keys() <= stored.keys():
            return None
        values = [stored[name] for name in names]
        if not all(type(value) in (int, float) and isfinite(value) and value >= 0 for value in values):
            return None
        return cls(*map(float, values))


NOTHING = Spent()


@dataclass(frozen=True)
class Share:
    """What is held while work is done: cores, and a GPU or a part of one."""

    cpus: float = 1.0
    gpus: float = 0.0

    def spent(self, seconds: float) -> Spent:
        """What so many busy seconds of it come to."""
        return Spent(seconds, seconds * self.cpus, seconds * self.gpus)


@dataclass(frozen=True)
class Span:
    """A time for which workers were lent for a job, or for some shards of one.

    All stamps are of one clock, that of whoever lends the workers: the clocks of nodes may be apart.

    Attributes
    ----------
    workers : tuple of str
        The one that was at work, and those that helped it or lent it their cores.
    node : str
        Where they are.
    began, ended : float
        Seconds since 1970.
    spent : Spent
        What was spent in it; nothing where all was found in a cache.
    shards : int
        Of an extraction: how many were made or read in it.
    died : bool
        Whether the worker died.
    """

    workers: tuple[str, ...]
    node: str
    began: float
    ended: float
    spent: Spent = NOTHING
    shards: int = 0
    died: bool = False
