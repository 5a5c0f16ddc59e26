"""What `auto` means on different clusters."""

from __future__ import annotations

from typing import Any

import pytest

from asvp.compute.placement import Placement, place, place_trial
from asvp.config import ExtractionConfig, ResourcesConfig
from asvp.errors import ClusterError


def test_without_gpus_every_core_has_an_actor() -> None:
    placement = place(ExtractionConfig(), [{"CPU": 6.0}])
    assert (placement.workers, placement.cpus, placement.gpus) == (6, 1.0, 0.0)
    assert placement.all_threads == 6


def test_every_gpu_has_an_actor_and_a_part_of_the_cores() -> None:
    placement = place(ExtractionConfig(), [{"CPU": 16.0, "GPU": 8.0}])
    assert (placement.workers, placement.cpus, placement.gpus) == (8, 2.0, 1.0)


def test_gpu_shares_put_several_actors_on_one_gpu() -> None:
    placement = place(ExtractionConfig(gpus_per_actor=0.5, cpus_per_actor=1), [{"CPU": 16.0, "GPU": 2.0}])
    assert placement.workers == 4


def test_more_than_the_cluster_has_is_refused_before_work() -> None:
    with pytest.raises(ClusterError, match=r"extraction\.gpus_per_actor"):
        place(ExtractionConfig(gpus_per_actor=2), [{"CPU": 4.0, "GPU": 1.0}])
    with pytest.raises(ClusterError, match=r"extraction\.cpus_per_actor"):
        place(ExtractionConfig(cpus_per_actor=8), [{"CPU": 4.0}])


def test_a_trial_has_one_actor_and_reserves_nothing_for_itself_by_default() -> None:
    own, placement = place_trial(ExtractionConfig(), ResourcesConfig(), [{"CPU": 8.0}])
    assert own == {}
    assert placement.workers == 1


def test_a_trial_takes_what_it_is_told_to() -> None:
    resources = ResourcesConfig(cpus_per_trial=1, gpus_per_trial=0.5)
    own, placement = place_trial(ExtractionConfig(actors=2, cpus_per_actor=3), resources, [{"CPU": 8.0, "GPU": 3.0}])
    assert own == {"CPU": 1.0, "GPU": 0.5}
    assert (placement.workers, placement.cpus) == (2, 3.0)


MIXED = [{"CPU": 3.0}, {"CPU": 3.0}, {"CPU": 2.0, "GPU": 1.0}]


def test_auto_counts_what_single_nodes_hold_not_what_they_have_in_sum() -> None:
    assert place(ExtractionConfig(cpus_per_actor=2, gpus_per_actor=0), MIXED).workers == 3
    assert place(ExtractionConfig(), [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 1.0}]) == Placement(3, 2.0, 1.0)


@pytest.mark.parametrize(
    ("config", "key", "words"),
    [
        ({"actors": 3}, "extraction.actors", r"room for 2 at a time \(1 CPU each; nodes: 1 of 2 CPUs\)"),
        ({"actors": 2, "cpus_per_actor": 2}, "extraction.actors", "room for 1"),
        ({"cpus_per_actor": 3}, "extraction.cpus_per_actor", "the largest has 2"),
        ({"gpus_per_actor": 1}, "extraction.gpus_per_actor", "the largest has 0"),
    ],
)
def test_actors_that_could_never_start_are_refused_by_key(config: dict[str, Any], key: str, words: str) -> None:
    with pytest.raises(ClusterError, match=f"^{key}: .*{words}"):
        place(ExtractionConfig(**config), [{"CPU": 2.0}])


def test_a_request_that_fits_the_sum_but_no_node_is_refused() -> None:
    with pytest.raises(ClusterError, match=r"extraction\.cpus_per_actor: .*the largest has 3"):
        place(ExtractionConfig(cpus_per_actor=4, gpus_per_actor=0), MIXED)
    with pytest.raises(ClusterError, match="no node has both at once"):
        place(ExtractionConfig(cpus_per_actor=3, gpus_per_actor=1), MIXED)
    with pytest.raises(ClusterError, match="room for 2"):
        place(ExtractionConfig(actors=3, cpus_per_actor=3, gpus_per_actor=0), MIXED)


@pytest.mark.parametrize(
    ("own", "extraction", "key"),
    [
        ({"cpus_per_trial": 5}, {}, "resources.cpus_per_trial"),
        ({"gpus_per_trial": 1}, {}, "resources.gpus_per_trial"),
        ({"cpus_per_trial": 1}, {"actors": 2}, "resources.cpus_per_trial"),
    ],
)
def test_a_trial_that_no_node_holds_is_refused(own: dict[str, Any], extraction: dict[str, Any], key: str) -> None:
    with pytest.raises(ClusterError, match=f"^{key}: "):
        place_trial(ExtractionConfig(**extraction), ResourcesConfig(**own), [{"CPU": 2.0}])


def test_a_trial_may_spread_over_nodes() -> None:
    nodes = [{"CPU": 2.0}, {"CPU": 2.0}]
    own, placement = place_trial(ExtractionConfig(actors=3), ResourcesConfig(cpus_per_trial=1), nodes)
    assert (own, placement.workers) == ({"CPU": 1.0}, 3)
    with pytest.raises(ClusterError, match=r"resources\.cpus_per_trial"):
        place_trial(ExtractionConfig(actors=4), ResourcesConfig(cpus_per_trial=1), nodes)
