"""Rows of shards that lie on other nodes: taken where they lie, so that only they travel."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import ray
from numpy.typing import NDArray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asvp.actors.cluster import has_several_nodes, node_cores

MOST_OF_A_SHARD = 1 / 8
"""The part of a shard up to which its rows travel alone. Rows that are wanted once are mostly wanted again, as labelled
rows are in each round; a shard that has come here as a whole need not come again."""
WORTH_BYTES = 8 << 20
"""What has to be spared for a call to a node to pay: in the time of one, about so much would have come from there."""


def located(references: Sequence[Any]) -> list[tuple[str, int]]:
    """The node and the bytes of each object: this node where there is a copy, or where no living one has it."""
    here, living = ray.get_runtime_context().get_node_id(), node_cores()
    found = ray.experimental.get_object_locations(list(references)) if references else {}
    places = []
    for reference in references:
        known = found.get(reference, {})
        nodes = [node for node in known.get("node_ids", ()) if node in living] or [here]
        places.append((here if here in nodes else sorted(nodes)[0], known.get("object_size") or 0))
    return places


def far_rows(
    references: Sequence[Any], rows: Sequence[NDArray[np.int64]], shares: Sequence[float]
) -> list[NDArray[np.floating] | None]:
    """Take rows of shards on other nodes there, with one call to each node.

    Parameters
    ----------
    references : sequence of ObjectRef
        Tables of features.
    rows : sequence of array of shape (n,), int
        For each table places in it.
    shares : sequence of float
        The part of each table that these are.

    Returns
    -------
    list of ndarray of shape (n, D), or None
        None for what is to be read as a whole: a table that is here, of which much is wanted, that has little beside
        other nodes' calls, or that could not be reached.
    """
    taken: list[NDArray[np.floating] | None] = [None] * len(references)
    if not has_several_nodes():
        return taken
    few = [place for place, share in enumerate(shares) if share <= MOST_OF_A_SHARD]
    asked = {}
    for node, places in _worth_a_call([references[place] for place in few], [shares[place] for place in few]).items():
        there = [few[place] for place in places]
        # It holds no core: whoever asks waits meanwhile.
        task = _taker().options(scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False))
        asked[task.remote([references[place] for place in there], [rows[place] for place in there])] = there
    for answer, there in asked.items():
        try:
            found: Sequence[NDArray[np.floating]] = ray.get(answer)
        except RayError:
            # Read as a whole, they are found elsewhere, or in the cache.
            continue
        for place, features in zip(there, found, strict=True):
            taken[place] = features
    return taken


def _worth_a_call(references: Sequence[Any], shares: Sequence[float]) -> dict[str, list[int]]:
    """For each other node that is to be called, the places of what lies there."""
    here, nodes, spared = ray.get_runtime_context().get_node_id(), defaultdict(list), Counter[str]()
    for place, (node, size) in enumerate(located(references)):
        if node != here:
            nodes[node].append(place)
            spared[node] += round((1 - shares[place]) * size)
    return {node: places for node, places in nodes.items() if spared[node] >= WORTH_BYTES}


def _taker() -> Any:
    def take(tables: list[Any], rows: list[NDArray[np.int64]]) -> list[NDArray[np.floating]]:
        # Defined in a function, this travels by value: the process that runs it need not load PyTorch.
        import ray

        from asvp.features.table import features_of

        return [features_of(table)[wanted] for table, wanted in zip(ray.get(tables), rows, strict=True)]

    return ray.remote(num_cpus=0, max_retries=0)(take)
