"""How many extraction actors there are, and what each holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from asvp.config import ExtractionConfig, ResourcesConfig
from asvp.errors import ClusterError


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
        share = f"{self.cpus:g} CPU{'' if self.cpus == 1 else 's'}" + (f" and {self.gpus:g} GPU" if self.gpus else "")
        return f"{self.workers} actor{'' if self.workers == 1 else 's'} of {share}"

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


def place(config: ExtractionConfig, total: Mapping[str, float]) -> Placement:
    """Decide what `auto` means on a cluster with these resources.

    With GPUs, one actor holds one GPU and an even part of the cores. Without, one actor holds one core: the matrix
    products of an encoder gain less from a second thread than from a second actor (docs/decisions.md has numbers). Long
    extractions measure whether that holds (`measured_placement`).

    Raises
    ------
    ClusterError
        If the cluster could never hold one actor.
    """
    cpus_there, gpus_there = total.get("CPU", 0.0), total.get("GPU", 0.0)
    gpus = config.gpus_per_actor
    if gpus == "auto":
        gpus = 1.0 if gpus_there >= 1 else 0.0
    if config.cpus_per_actor != "auto":
        cpus = config.cpus_per_actor
    elif gpus:
        cpus = float(max(1, min(_CORES_A_GPU, int(cpus_there * gpus / max(gpus_there, 1)))))
    else:
        cpus = 1.0
    for key, wanted, there in (("cpus_per_actor", cpus, cpus_there), ("gpus_per_actor", gpus, gpus_there)):
        if wanted > there:
            raise ClusterError(
                f"one actor asks for more than the whole cluster has ({there:g})",
                key=f"extraction.{key}",
                value=wanted,
                mend="Ask for less, use `auto`, or join a larger cluster with --address",
            )
    if config.actors != "auto":
        return Placement(config.actors, cpus, gpus)
    fitting = int(min(cpus_there / cpus, gpus_there / gpus if gpus else MOST_CPU_ACTORS))
    return Placement(max(1, fitting), cpus, gpus)


_CORES_A_GPU = 4
MOST_CPU_ACTORS = 64


def place_trial(
    extraction: ExtractionConfig, own: ResourcesConfig, total: Mapping[str, float]
) -> tuple[dict[str, float], Placement]:
    """What a trial's own process holds, and its actors: `auto` is one actor, so that trials run side by side.

    A trial's process and its actors work in turn (it waits while they fine-tune or extract), so `auto` reserves no
    core for the process itself.
    """
    one = extraction if extraction.actors != "auto" else extraction.model_copy(update={"actors": 1})
    head = {
        "CPU": 0.0 if own.cpus_per_trial == "auto" else own.cpus_per_trial,
        "GPU": 0.0 if own.gpus_per_trial == "auto" else own.gpus_per_trial,
    }
    return {name: amount for name, amount in head.items() if amount}, place(one, total)
