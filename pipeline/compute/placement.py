"""How many workers the pool has, and what each holds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from asvp.config import TrainingConfig, WorkersConfig
from asvp.errors import ClusterError, ConfigError

Resources = Mapping[str, float]


@dataclass(frozen=True)
class Placement:
    """Workers and their share.

    Attributes
    ----------
    workers : int
    cpus, gpus : float
        Held by each worker.
    """

    workers: int
    cpus: float
    gpus: float

    def __str__(self) -> str:
        return f"{self.workers} worker{'' if self.workers == 1 else 's'} of {self.share}"

    @property
    def share(self) -> str:
        """What one worker holds, in words."""
        return f"{self.cpus:g} CPU{'' if self.cpus == 1 else 's'}" + (f" and {self.gpus:g} GPU" if self.gpus else "")

    @property
    def threads(self) -> int:
        """CPU threads of one worker."""
        return max(1, int(self.cpus))

    @property
    def all_threads(self) -> int:
        """CPU threads that may work while only one of the workers does: its own and those of the idle ones."""
        return self.threads if self.gpus else max(1, int(self.cpus * self.workers))

    def bundle(self) -> dict[str, float]:
        """What one worker asks of Ray."""
        return {"CPU": self.cpus, **({"GPU": self.gpus} if self.gpus else {})}


def place(workers: WorkersConfig, nodes: Sequence[Resources], *, growing: bool = False) -> Placement:
    """Decide what `auto` means on a cluster of these nodes.

    With GPUs, `per_gpu` workers share each, with an even share of its node's cores. Without, one worker holds one
    core: the matrix products of an encoder gain less from a second thread than from a second worker (docs/decisions.md
    has numbers). Long extractions measure whether that holds (`measured_placement`).

    Parameters
    ----------
    workers : WorkersConfig
    nodes : sequence of mapping
        What each node has in all: "CPU" and "GPU".
    growing : bool
        Whether nodes may still join. Then more workers may be asked for than find room now, and at least one is
        placed; what each holds is still held against the nodes that are there, if any has something to give.

    Raises
    ------
    ClusterError
        If no node could ever hold a worker, or the nodes together not as many as are asked for.
    """
    gpus = _gpus(workers, nodes)
    cpus = workers.cpus
    if cpus == "auto":
        cpus = _cores_beside(gpus, nodes) if gpus else 1.0
    one = Placement(1, cpus, gpus)
    if not growing or any(amount for node in nodes for amount in node.values()):
        _require_a_node(one.bundle(), nodes, {"CPU": "workers.cpus", "GPU": "workers.gpus"})
    fitting = room(one.bundle(), nodes)
    if workers.count == "auto":
        found = fitting if gpus else min(fitting, MOST_CPU_WORKERS)
        return replace(one, workers=max(1, found))
    if workers.count > fitting and not growing:
        raise ClusterError(
            f"there is room for {fitting} at a time ({one.share} each; {_told(nodes)})",
            key="workers.count",
            value=workers.count,
            mend="Ask for fewer, give each less, or join a larger cluster with --address",
        )
    return replace(one, workers=workers.count)


def team_size(training: TrainingConfig, placement: Placement, most: int) -> int:
    """How many workers train a model together, where a node has `most` of them.

    Raises
    ------
    ConfigError
        If several are asked for and share GPUs: then one GPU would be added to itself.
    """
    if training.devices == "auto":
        return max(1, min(most, training.batch_size // _ROWS_WORTH_A_GPU)) if placement.gpus >= 1 else 1
    if training.devices > 1 and 0 < placement.gpus < 1:
        raise ConfigError(
            f"each of them needs a GPU of its own, and the workers hold {placement.gpus:g} of one",
            key="training.devices",
            value=training.devices,
            mend="Set workers.per_gpu to 1, or training.devices to 1",
        )
    return training.devices


def settled_team(
    training: TrainingConfig, placement: Placement, nodes: Sequence[Resources], *, growing: bool = False
) -> int:
    """How many of the workers that are placed so on these nodes train a model together.

    Parameters
    ----------
    training : TrainingConfig
    placement : Placement
    nodes : sequence of mapping
        What each node has in all: "CPU" and "GPU".
    growing : bool
        Whether nodes may still join, which may be larger.

    Raises
    ------
    ConfigError
        If several are asked for, and share GPUs.
    ClusterError
        If no node could hold so many.
    """
    most = min(placement.workers, max((room(placement.bundle(), [node]) for node in nodes), default=0))
    size = team_size(training, placement, most)
    if size > (placement.workers if growing else most):
        raise too_large_a_team(size, most, f" ({placement.share} each; {_told(nodes)})")
    return size


def too_large_a_team(team: int, most: int, room: str = "") -> ClusterError:
    """The error for workers that are to train together, and are more than a node has; `room` says what there is."""
    return ClusterError(
        f"no node has so many workers: the one with most has {most}{room}",
        key="training.devices",
        value=team,
        mend="Ask for fewer, use auto, or give each less (workers.cpus, workers.gpus)",
    )


MOST_CPU_WORKERS = 64
_ROWS_WORTH_A_GPU = 16
"""Rows of a batch from which a GPU has more to compute than to tell the others."""
_WORKERS_A_GPU = 1
_SMALLEST_SHARE = 1e-4
"""Ray counts in steps of this."""


def _gpus(workers: WorkersConfig, nodes: Sequence[Resources]) -> float:
    """GPUs that a worker holds."""
    if workers.gpus != "auto" and workers.per_gpu == "auto":
        return workers.gpus
    if workers.gpus == "auto" and not any(node.get("GPU", 0.0) >= 1 for node in nodes):
        return 0.0
    return 1.0 / _workers_a_gpu(workers)


def _workers_a_gpu(workers: WorkersConfig) -> int:
    """How many workers share a GPU; one, where nobody has measured what `auto` is."""
    return _WORKERS_A_GPU if workers.per_gpu == "auto" else workers.per_gpu


def room(bundle: Resources, nodes: Sequence[Resources]) -> int:
    """How many equal bundles the nodes hold beside each other; a bundle lies on one node."""
    return sum(
        min(int((node.get(name, 0.0) + _ROUNDING) / amount) for name, amount in bundle.items() if amount)
        for node in nodes
    )


_ROUNDING = 1e-6


def _cores_beside(gpus: float, nodes: Sequence[Resources]) -> float:
    """Cores for a worker with so many GPUs, an even share of those of the node that has fewest a GPU."""
    shares = [node.get("CPU", 0.0) * gpus / node["GPU"] for node in nodes if node.get("GPU", 0.0) >= gpus]
    share = min(shares, default=1.0) + _ROUNDING
    # Whole cores, or a part of one where workers are more than cores.
    return float(int(share)) if share >= 1 else max(_SMALLEST_SHARE, int(share / _SMALLEST_SHARE) * _SMALLEST_SHARE)


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


def _told(nodes: Sequence[Resources]) -> str:
    """The nodes in words, equal ones together."""
    kinds = Counter((node.get("CPU", 0.0), node.get("GPU", 0.0)) for node in nodes)
    each = [
        f"{count} of {cpus:g} CPU{'' if cpus == 1 else 's'}" + (f" and {gpus:g} GPUs" if gpus else "")
        for (cpus, gpus), count in sorted(kinds.items(), reverse=True)
    ]
    return f"nodes: {', '.join(each)}" if each else "there is no node"
