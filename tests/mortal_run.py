"""A run that is killed, by SIGKILL, at a named moment: started by tests in a process of its own.

    python mortal_run.py CONFIG OUT MOMENT [ray]

MOMENT is EVENT:COUNT; the process dies at the COUNTth time the event happens. With `ray` the encoder's work is done by
workers on a Ray of the process's own, and the process that dies is the driver.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from forked import fork_ray_workers

import asvp.compute.session
import asvp.driver.journal
from asvp.config import load_config
from asvp.driver.loop import run

config, out, moment, *where = sys.argv[1:]
event, _, count = moment.partition(":")
seen: Counter[str] = Counter()
driver = os.getpid()


def happens(name: str) -> None:
    seen[name] += 1
    if name == event and seen[name] == int(count):
        os.kill(driver, signal.SIGKILL)


def before(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        happens(name)
        return function(*args, **kwargs)

    return wrapped


def stepwise(function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs, on_step=lambda done, steps: happens("step"))

    return wrapped


def watch_work() -> None:
    """Have shards and steps of training that are done in this process happen."""
    session = asvp.compute.session
    session.EncoderSession.extract = before("shard", session.EncoderSession.extract)  # type: ignore[method-assign]
    session.fine_tune = stepwise(session.fine_tune)  # type: ignore[assignment]


def watch_workers() -> None:
    """Have them happen where workers do it: a shard when the driver is told of it, a step in the worker itself."""
    import ray

    import asvp.actors.backend
    import asvp.actors.extraction
    from asvp.actors.worker import _Worker

    fork_ray_workers()

    class Watched(_Worker):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            asvp.compute.session.fine_tune = stepwise(asvp.compute.session.fine_tune)  # type: ignore[assignment]

    pool = partial(asvp.actors.backend.worker_pool, worker=ray.remote(Watched))
    asvp.actors.backend.worker_pool = pool  # type: ignore[assignment]
    shard = asvp.actors.extraction.ObjectStoreShard
    asvp.actors.extraction.ObjectStoreShard = before("shard", shard)  # type: ignore[misc,assignment]


journal = asvp.driver.journal
journal.save_checkpoint = before("checkpoint", journal.save_checkpoint)  # type: ignore[assignment]
journal.save_final_model = before("final", journal.save_final_model)  # type: ignore[assignment]
(watch_workers if where else watch_work)()
run(
    load_config(config),
    out=out,
    in_process=not where,
    address="local" if where else None,
    on_round=lambda record: happens("round"),
)
