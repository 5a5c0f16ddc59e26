"""A worker with nothing to load, whose jobs are plain functions: for what the broker does with workers."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any, NamedTuple

import ray
from ray import cloudpickle

from asvp.spent import NOTHING, Spent

# The tests are no package that a worker could import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


class Slept(NamedTuple):
    """What is told of a shard: which process had it, and that no cache holds it."""

    process: int
    stored: None = None
    spent: Spent = NOTHING


class _SleepingWorker:
    def __init__(self, share: Any, cores: float) -> None:
        self._share = share

    def hello(self) -> tuple[str, str, dict[str, Any]]:
        return f"{os.getpid()}", ray.get_runtime_context().get_node_id(), {"processor": "none"}

    def do(self, function: Any, share: Any) -> tuple[None, tuple[Any, Any]]:
        return None, (function(), share)

    def extract(self, order: Any, job: Any, share: Any) -> tuple[None, Any]:
        time.sleep(0.1)
        return None, Slept(os.getpid())

    def answer(self) -> str:
        return ""

    def live(self) -> None:
        threading.Event().wait()

    def rest(self) -> None:
        pass


SleepingWorker: Any = ray.remote(_SleepingWorker)


class _StillbornWorker(_SleepingWorker):
    def __init__(self, share: Any, cores: float) -> None:
        raise ImportError("no module named torch")


StillbornWorker: Any = ray.remote(_StillbornWorker)


class _LateWorker(_SleepingWorker):
    def answer(self) -> str:
        return "The cache answers late"


LateWorker: Any = ray.remote(_LateWorker)
