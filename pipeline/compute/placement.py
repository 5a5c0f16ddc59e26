"""How many extraction actors there are, and what each holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from asvp.config import ExtractionConfig, ResourcesConfig
from asvp.errors import ClusterError

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Placement:
    """Extraction actors and their share.

    Attributes
    ----------
    workers : int
    cpus, gpus : float
        Held by each actor.
    """

    workers: int
    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.workers} actor{'' if self.workers == 1 else 's'} of {self.share}"

    @property
    def share(self) -> str:
        """What one actor holds, in words."""
        return f"{self.cpus:g} CPU{'' if self.cpus == 1 else 's'}" + (f" and {self.gpus:g} GPU" if self.gpus else "")

    @property
    def threads(self) -> int:
        """CPU threads of one actor."""
        return max(1, int(self.cpus))

    @property
    def all_threads(self) -> int:
        """CPU threads that may work while only one of the actors does: its own and those of the idle ones."""
        return self.threads if self.gpus else max(1, int(self.cpus * self.workers))

    def bundle(self) -> dict[str, float]:
        """What one actor asks of Ray."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}


def place(config: ExtractionConfig, nodes: Sequence[Resources]) -> Placement:
    """Decide what `auto` means on a cluster of these nodes.

    With GPUs, one actor holds one GPU and an even part of its node's cores. Without, one actor holds one core: the
    matrix products of an encoder gain less from a second thread than from a second actor (docs/decisions.md has
    numbers). Long extractions measure whether that holds (`measured_placement`).

    Parameters
    ----------
    config : ExtractionConfig
    nodes : sequence of mapping
        What each node has in all: "CPU" and "GPU".

    Raises
    ------
    ClusterError
        If no node could ever hold an actor, or the nodes together not as many as are asked for.
    """
    gpus = config.gpus_per_actor
    if gpus == "auto":
        gpus = 1.0 if any(node.get("GPU", 0.0) >= 1 for node in nodes) else 0.0
    cpus = config.cpus_per_actor
    if cpus == "auto":
        cpus = _cores_beside(gpus, nodes) if gpus else 1.0
    one = Placement(1, cpus, gpus)
    _require_a_node(one.bundle(), nodes, {"CPU": "extraction.cpus_per_actor", "GPU": "extraction.gpus_per_actor"})
    fitting = room(one.bundle(), nodes)
    if config.actors == "auto":
        return replace(one, workers=fitting if gpus else min(fitting, MOST_CPU_ACTORS))
    if config.actors > fitting:
        raise ClusterError(
            f"there is room for {fitting} at a time ({one.share} each; {_told(nodes)})",
            key="extraction.actors",
            value=config.actors,
            mend="Ask for fewer, give each less, or join a larger cluster with --address",
        )
    return replace(one, workers=config.actors)


_CORES_A_GPU = 4
MOST_CPU_ACTORS = 64


def place_trial(
    extraction: ExtractionConfig, own: ResourcesConfig, nodes: Sequence[Resources]
) -> tuple[dict[str, float], Placement]:
    """What a trial's own process holds, and its actors: `auto` is one actor, so that trials run side by side.

    A trial's process and its actors work in turn (it waits while they fine-tune or extract), so `auto` reserves no
    core for the process itself.

    Raises
    ------
    ClusterError
        If the nodes could never hold a trial.
    """
    one = extraction if extraction.actors != "auto" else extraction.model_copy(update={"actors": 1})
    wanted = {
        "CPU": 0.0 if own.cpus_per_trial == "auto" else own.cpus_per_trial,
        "GPU": 0.0 if own.gpus_per_trial == "auto" else own.gpus_per_trial,
    }
    head = {name: amount for name, amount in wanted.items() if amount}
    placement = place(one, nodes)
    _require_a_node(head, nodes, {"CPU": "resources.cpus_per_trial", "GPU": "resources.gpus_per_trial"})
    if not _hold_together(head, placement, nodes):
        name = "CPU" if "CPU" in head else "GPU"
        raise ClusterError(
            f"no trial finds room: its {placement} need the rest ({_told(nodes)})",
            key=f"resources.{name.lower()}s_per_trial",
            value=head[name],
            mend="Ask for less, use `auto`, or join a larger cluster with --address",
        )
    return head, placement


def room(bundle: Resources, nodes: Sequence[Resources]) -> int:
    """How many equal bundles the nodes hold beside each other; a bundle lies on one node."""
    return sum(
        min(int((node.get(name, 0.0) + _ROUNDING) / amount) for name, amount in bundle.items() if amount)
        for node in nodes
    )


_ROUNDING = 1e-6


def _cores_beside(gpus: float, nodes: Sequence[Resources]) -> float:
    """Cores for an actor with so many GPUs, an even part of those of the node that has fewest a GPU."""
    shares = [node.get("CPU", 0.0) * gpus / node["GPU"] for node in nodes if node.get("GPU", 0.0) >= gpus]
    return float(max(1, min(_CORES_A_GPU, int(min(shares, default=1.0)))))


def _require_a_node(bundle: Resources, nodes: Sequence[Resources], keys: Mapping[str, str]) -> None:
    """Raise a ClusterError unless one node at least can hold a bundle."""
    for name, wanted in bundle.items():
        largest = max((node.get(name, 0.0) for node in nodes), default=0.0)
        if wanted > largest + _ROUNDING:
            raise ClusterError(
                f"no node has so many {name}s: the largest has {largest:g}",
                key=keys[name],
                value=wanted,
                mend="Ask for less, use `auto`, or join a larger cluster with --address",
            )
    if bundle and not room(bundle, nodes):
        raise ClusterError(
            f"no node has both at once ({_told(nodes)})",
            key=" and ".join(keys[name] for name in bundle),
            value=" and ".join(f"{amount:g}" for amount in bundle.values()),
            mend="Ask for less of one of them",
        )


def _hold_together(head: Resources, placement: Placement, nodes: Sequence[Resources]) -> bool:
    """Whether a trial's own bundle and its actors' find room at once."""
    if not head:
        return True
    for place, node in enumerate(nodes):
        left = {name: node.get(name, 0.0) - head.get(name, 0.0) for name in ("CPU", "GPU")}
        others = [*nodes[:place], left, *nodes[place + 1 :]]
        if min(left.values()) >= -_ROUNDING and room(placement.bundle(), others) >= placement.workers:
            return True
    return False


def _told(nodes: Sequence[Resources]) -> str:
    """The nodes in words, equal ones together."""
    kinds = Counter((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)
    each = [
        f"{count} of {cpus:g} CPU{'' if cpus == 1 else 's'}" + (f" and {gpus:g} GPUs" if gpus else "")
        for (cpus, gpus), count in sorted(kinds.items(), reverse=True)
    ]
    return f"nodes: {', '.join(each)}" if each else "there is no node"
