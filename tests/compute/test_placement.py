"""What `auto` means on different clusters."""

from __future__ import annotations

import pytest

from asvp.compute.placement import place, place_trial
from asvp.config import ExtractionConfig, ResourcesConfig
from asvp.errors import ClusterError


def test_without_gpus_every_core_has_an_actor() -> None:
    placement = place(ExtractionConfig(), {"CPU": 6.0})
    assert (placement.workers, placement.cpus, placement.gpus) == (6, 1.0, 0.0)
    assert placement.all_threads == 6


def test_every_gpu_has_an_actor_and_a_part_of_the_cores() -> None:
    placement = place(ExtractionConfig(), {"CPU": 16.0, "GPU": 8.0})
    assert (placement.workers, placement.cpus, placement.gpus) == (8, 2.0, 1.0)


def test_gpu_shares_put_several_actors_on_one_gpu() -> None:
    placement = place(ExtractionConfig(gpus_per_actor=0.5, cpus_per_actor=1), {"CPU": 16.0, "GPU": 2.0})
    assert placement.workers == 4


def test_more_than_the_cluster_has_is_refused_before_work() -> None:
    with pytest.raises(ClusterError, match=r"extraction\.gpus_per_actor"):
        place(ExtractionConfig(gpus_per_actor=2), {"CPU": 4.0, "GPU": 1.0})
    with pytest.raises(ClusterError, match=r"extraction\.cpus_per_actor"):
        place(ExtractionConfig(cpus_per_actor=8), {"CPU": 4.0})


def test_a_trial_has_one_actor_and_reserves_nothing_for_itself_by_default() -> None:
    own, placement = place_trial(ExtractionConfig(), ResourcesConfig(), {"CPU": 8.0})
    assert own == {}
    assert placement.workers == 1


def test_a_trial_takes_what_it_is_told_to() -> None:
    resources = ResourcesConfig(cpus_per_trial=1, gpus_per_trial=0.5)
    own, placement = place_trial(ExtractionConfig(actors=2, cpus_per_actor=3), resources, {"CPU": 8.0})
    assert own == {"CPU": 1.0, "GPU": 0.5}
    assert (placement.workers, placement.cpus) == (2, 3.0)
