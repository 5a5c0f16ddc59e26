"""Sharded selection: one actor a node answers for the blocks whose shards lie there."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import ActorUnschedulableError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asvp.actors.cluster import node_cores
from asvp.actors.far_rows import located
from asvp.actors.selection_worker import SelectionWorker
from asvp.actors.shards import DIED, ObjectStoreShard, unwrap
from asvp.compute.picking import LocalPicker, Picker
from asvp.errors import WorkError
from asvp.features.feature_set import Features, FeatureSet
from asvp.selection import Plan, Pool, run_plan
from asvp.selection.pool.sharded import sharded
from asvp.selection.rows import BLOCK_ROWS

WORTH_BYTES = 1 << 30
"""Features on other nodes from which on it pays to select there: fewer are read once and then lie here as well."""
_TRIES = 5
"""The loss of one node costs two: a lost node may be taken for alive for a while."""
_PAUSE = 8.0
"""Seconds before another try."""


class SelectionTeam:
    """The actors of sharded selection, started when first needed, one a node.

    Parameters
    ----------
    cores : float
        Of the whole pool: no actor uses more threads.
    """

    def __init__(self, cores: float) -> None:
        self._cores = cores
        self._workers: dict[str, Any] = {}

    def picker(self, plan: Plan, features: Features, wanted: bool | Literal["auto"]) -> Picker:
        """Who should run a strategy on these features.

        Parameters
        ----------
        plan : Plan
        features : Features
        wanted : bool or "auto"
            The key `selection.sharded`; auto: where the strategy can, and more than `WORTH_BYTES` of the features lie
            on other nodes than this process.
        """
        if not wanted or not plan.sharded or not plan.inputs:
            return LocalPicker()
        if wanted == "auto" and bytes_elsewhere(features) < WORTH_BYTES:
            return LocalPicker()
        return ShardedPicker(self, features)

    def worker(self, node: str) -> Any:
        """The actor on a node."""
        if node not in self._workers:
            # It holds no core of its own: it works while the worker that has the selection as its job waits for it.
            self._workers[node] = SelectionWorker.options(
                num_cpus=0, scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False)
            ).remote(self.threads(node))
        return self._workers[node]

    def threads(self, node: str) -> int:
        """CPU threads of the actor on a node."""
        return max(1, min(node_cores().get(node, 1), int(self._cores)))

    def close(self) -> None:
        """Let the actors go."""
        self._workers = {}


@dataclass(frozen=True)
class ShardedPicker:
    """Runs a strategy on a pool whose parts lie with the actors of a team.

    Attributes
    ----------
    team : SelectionTeam
    features : Features
        What the pool is made of; it tells where the rows lie.
    """

    team: SelectionTeam
    features: Features

    @property
    def cpus(self) -> float | None:
        """Threads of all actors that take part."""
        return float(sum(self.team.threads(node) for node in set(block_homes(self.features))))

    def pick(self, plan: Plan, pool: Pool, *, budget: int, seed: int) -> NDArray[np.int64]:
        """As `asvp.selection.run_plan`; begun anew, with the same picks, when an actor dies.

        Raises
        ------
        WorkError
            If actors die at every try.
        """
        for left in reversed(range(_TRIES)):
            try:
                return self._pick(plan, pool, budget, seed)
            except (*DIED, ActorUnschedulableError):
                self.team.close()
                time.sleep(_PAUSE if left else 0)
            except RayTaskError as error:
                raise unwrap(error) from None
        raise WorkError(
            f"the processes that select died {_TRIES} times",
            key="selection.sharded",
            value=True,
            mend="Set selection.sharded to false if the features fit one node, or give the nodes more memory",
        )

    def _pick(self, plan: Plan, pool: Pool, budget: int, seed: int) -> NDArray[np.int64]:
        nodes, owners = np.unique(block_homes(self.features), return_inverse=True)
        workers = [self.team.worker(str(node)) for node in nodes]
        handle = ray.put(pool)
        ray.get([worker.open.remote(handle, np.flatnonzero(owners == part)) for part, worker in enumerate(workers)])
        try:
            return run_plan(plan, sharded(pool, owners, ActorCrew(workers)), budget=budget, seed=seed)
        finally:
            # Views on the shards would keep a feature version alive that a refresh drops.
            for worker in workers:
                worker.close.remote()


class ActorCrew:
    """A `asvp.selection.pool.sharded.Crew` of actors."""

    def __init__(self, workers: Sequence[Any]) -> None:
        self._workers = workers

    def all(self, method: str, *arguments: Any) -> list[Any]:
        """Call a method of every part; the arguments travel to each node once."""
        held = [argument if isinstance(argument, int) else ray.put(argument) for argument in arguments]
        answers: list[Any] = ray.get([worker.call.remote(method, *held) for worker in self._workers])
        return answers

    def each(self, method: str, arguments: Mapping[int, tuple[Any, ...]]) -> dict[int, Any]:
        """Call a method of the parts named."""
        calls = [self._workers[part].call.remote(method, *given) for part, given in arguments.items()]
        return dict(zip(arguments, ray.get(calls), strict=True))


def shard_homes(features: FeatureSet) -> list[str]:
    """The node of each shard, this one where there is a copy; shards that lie in no store count as here."""
    stored = {place: shard for place, shard in enumerate(features.shards) if isinstance(shard, ObjectStoreShard)}
    homes = [ray.get_runtime_context().get_node_id()] * len(features.shards)
    for place, (node, _) in zip(stored, located([shard.reference for shard in stored.values()]), strict=True):
        homes[place] = node
    return homes


def bytes_elsewhere(features: Features) -> int:
    """Bytes of the features that lie on other nodes."""
    here = ray.get_runtime_context().get_node_id()
    found = 0
    for part in features.parts:
        rows = np.diff(part.starts)
        away = int(rows[[home != here for home in shard_homes(part)]].sum())
        found += part.nbytes * away // len(part)
    return found


def block_homes(features: Features) -> list[str]:
    """The node of each block of `BLOCK_ROWS` rows: that of the shard with its first row, of the newest version."""
    newest = features.parts[-1]
    homes, firsts = shard_homes(newest), np.arange(0, len(newest), BLOCK_ROWS)
    shards = np.searchsorted(np.asarray(newest.starts[:-1]), firsts, side="right") - 1
    return [homes[shard] for shard in shards]
