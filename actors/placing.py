"""How the workers of a pool lie on the cluster that is here."""

from __future__ import annotations

from asvp.actors.broker import too_large_a_team
from asvp.actors.cluster import may_grow, node_cores, nodes
from asvp.actors.packing import with_packing
from asvp.compute.measured_placement import alternatives
from asvp.compute.placement import Placement, place, room, team_size
from asvp.compute.probe import Probe
from asvp.config import TrainingConfig, WorkersConfig
from asvp.features.cache import Cache
from asvp.progress import Reporter


def placed(
    workers: WorkersConfig, probe: Probe, cache: Cache | None, reporter: Reporter
) -> tuple[Placement, tuple[Placement, ...]]:
    """Workers and what each holds, and other teams that are worth measuring.

    Parameters
    ----------
    workers : WorkersConfig
    probe : Probe
        What is tried where it is measured how many workers share a GPU.
    cache : Cache, optional
        Where that is remembered.
    reporter : Reporter

    Raises
    ------
    ClusterError
        If no node could ever hold a worker, or the nodes together not as many as are asked for.
    """
    place(workers, nodes(), growing=may_grow())
    workers = with_packing(workers, probe, cache, reporter)
    placement = place(workers, nodes(), growing=may_grow())
    return placement, alternatives(workers, placement, list(node_cores().values()))


def settled_team(training: TrainingConfig, placement: Placement) -> int:
    """How many of the workers that are placed so train a model together.

    Raises
    ------
    ConfigError
        If several are asked for, and share GPUs.
    ClusterError
        If no node could hold so many.
    """
    most = min(placement.workers, max((room(placement.bundle(), [node]) for node in nodes()), default=0))
    size = team_size(training, placement, most)
    if size > (placement.workers if may_grow() else most):
        raise too_large_a_team(size, most)
    return size
