"""How the workers of a pool lie on the cluster that is here."""

from __future__ import annotations

from asvp.actors.cluster import may_grow, node_cores, nodes
from asvp.actors.packing import with_packing
from asvp.compute.measured_placement import alternatives
from asvp.compute.placement import Placement, place, settled_team
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


def team_here(training: TrainingConfig, placement: Placement) -> int:
    """As `asvp.compute.placement.settled_team`, on the nodes of this cluster."""
    return settled_team(training, placement, nodes(), growing=may_grow())
