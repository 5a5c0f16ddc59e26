"""A pool of workers: started once, and lent to many drivers by a broker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asvp.actors.broker import PATIENCE, QUANTUM, SILENCE, Broker
from asvp.actors.worker import Worker
from asvp.compute.placement import Placement
from asvp.spent import Share

_CALLS = 16
"""Four shards, four more that nobody waits for, the call that tells of its death, and some that ask how it is."""


@dataclass(frozen=True)
class Pool:
    """A pool of workers, as a driver in any process can be told of it.

    Attributes
    ----------
    broker : ActorHandle
    placement : Placement
    alternatives : tuple of Placement
        Fewer workers with more threads, of which one may turn out to extract faster.
    """

    broker: Any
    placement: Placement
    alternatives: tuple[Placement, ...] = ()


@contextmanager
def worker_pool(
    placement: Placement,
    others: tuple[Placement, ...] = (),
    *,
    worker: Any = Worker,
    strategy: Any = None,
    quantum: float = QUANTUM,
    patience: float = PATIENCE,
    silence: float = SILENCE,
) -> Iterator[Pool]:
    """Start a pool of workers on the cluster that this process is connected to, and let it go at the end.

    The workers start beside whatever is done meanwhile; a job is given to those that are there.

    Parameters
    ----------
    placement : Placement
    others : tuple of Placement
        Fewer workers with more threads, of which one may turn out to extract faster.
    worker : ActorClass
        With the methods of `Worker`.
    strategy : optional
        Of scheduling, where not any node will do.
    quantum : float
        Seconds in which a worker that extracts is not asked back.
    patience : float
        Seconds without a sign of life after which a driver is taken for dead.
    silence : float
        Seconds without an answer after which a worker is ended and replaced.
    """
    placed = worker.options(
        num_cpus=placement.cpus, num_gpus=placement.gpus, max_concurrency=_CALLS, scheduling_strategy=strategy
    )
    share = Share(placement.cpus, placement.gpus)
    arguments = (share, placement.cpus * placement.workers)
    # Its calls run beside each other: most of them wait for a worker. It lives and dies with this process's node.
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    # Killed, it begins anew with new workers; whoever asked it for something asks again.
    broker = Broker.options(num_cpus=0, max_concurrency=1 << 16, scheduling_strategy=here, max_restarts=-1).remote(
        placed, arguments, placement, quantum, patience, silence
    )
    broker.start.remote()
    try:
        yield Pool(broker, placement, others)
    finally:
        # It owns the workers, which go with it; what they made belongs to those who asked for it.
        ray.kill(broker)
