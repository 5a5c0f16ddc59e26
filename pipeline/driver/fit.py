"""What a cluster has and what is held against it, as a plain value."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from asvp.compute.placement import room
from asvp.config import WorkersConfig


@dataclass(frozen=True)
class ClusterFit:
    """What a cluster has, and what is held against it.

    Attributes
    ----------
    nodes : list of dict
        CPUs and GPUs of each living node that has any.
    growing : bool
        Whether an autoscaler may add nodes.
    stores : list of int
        Bytes of the object store of each node with cores.
    errors, warnings : list of str
        Why it cannot run the configuration, and what will hurt; a line each, with its mend.
    """

    nodes: list[dict[str, float]]
    growing: bool
    stores: list[int]
    errors: list[str]
    warnings: list[str]

    @property
    def smallest_store(self) -> int:
        """Bytes of the smallest object store of a node with cores; none where there is no such node."""
        return min(self.stores, default=0)

    def __str__(self) -> str:
        cpus, gpus = (sum(node[name] for node in self.nodes) for name in ("CPU", "GPU"))
        more = "; more may join" if self.growing else ""
        return f"{len(self.nodes)} node{'' if len(self.nodes) == 1 else 's'} with {cpus:g} CPUs and {gpus:g} GPUs{more}"


def room_warnings(workers: WorkersConfig, bundle: dict[str, float], fit: ClusterFit) -> Iterator[str]:
    """Where nodes may still join: workers that have no room yet, or that `auto` does not count."""
    if not fit.growing:
        return
    there = room(bundle, fit.nodes)
    if workers.count == "auto":
        yield (
            f"workers.count: auto counts what is there when the work begins, which is {there} now, and asks for no "
            "more nodes. Name a number"
        )
    elif workers.count > there:
        yield f"workers.count: {there} of {workers.count} have room now; the others wait for nodes that may join"
