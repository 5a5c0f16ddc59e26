"""What `auto` means on different clusters."""

from __future__ import annotations

from typing import Any

import pytest

from asvp.compute.placement import MOST_CPU_WORKERS, Placement, place, settled_team, team_size
from asvp.config import TrainingConfig, WorkersConfig
from asvp.errors import ClusterError, ConfigError


def test_without_gpus_every_core_has_a_worker() -> None:
    placement = place(WorkersConfig(), [{"CPU": 6.0}])
    assert placement == Placement(6, 1.0, 0.0)
    assert placement.all_threads == 6
    assert place(WorkersConfig(), [{"CPU": 500.0}]).workers == MOST_CPU_WORKERS


def test_every_gpu_has_a_worker_and_an_even_share_of_the_cores() -> None:
    assert place(WorkersConfig(), [{"CPU": 16.0, "GPU": 8.0}]) == Placement(8, 2.0, 1.0)
    assert place(WorkersConfig(), [{"CPU": 26.0, "GPU": 1.0}]) == Placement(1, 26.0, 1.0)


@pytest.mark.parametrize(
    ("workers", "node", "expected"),
    [
        ({"per_gpu": 2}, {"CPU": 16.0, "GPU": 2.0}, Placement(4, 4.0, 0.5)),
        ({"gpus": 0.5}, {"CPU": 16.0, "GPU": 2.0}, Placement(4, 4.0, 0.5)),
        ({"gpus": 0.5, "cpus": 1}, {"CPU": 16.0, "GPU": 2.0}, Placement(4, 1.0, 0.5)),
        ({"per_gpu": 3}, {"CPU": 12.0, "GPU": 1.0}, Placement(3, 4.0, 1 / 3)),
        ({"gpus": 0.33, "per_gpu": 3}, {"CPU": 12.0, "GPU": 1.0}, Placement(3, 4.0, 1 / 3)),
        # More workers than cores hold parts of them.
        ({"per_gpu": 4}, {"CPU": 2.0, "GPU": 1.0}, Placement(4, 0.5, 0.25)),
        ({"gpus": 2}, {"CPU": 8.0, "GPU": 4.0}, Placement(2, 4.0, 2.0)),
        ({"count": 1, "per_gpu": 2}, {"CPU": 8.0, "GPU": 1.0}, Placement(1, 4.0, 0.5)),
        # Without GPUs there is nothing to share.
        ({"per_gpu": 4}, {"CPU": 4.0}, Placement(4, 1.0, 0.0)),
        ({"gpus": 0}, {"CPU": 4.0, "GPU": 2.0}, Placement(4, 1.0, 0.0)),
    ],
)
def test_workers_share_gpus_as_they_are_told_to(
    workers: dict[str, Any], node: dict[str, float], expected: Placement
) -> None:
    found = place(WorkersConfig(**workers), [node])
    assert (found.workers, found.cpus, found.gpus) == (
        expected.workers,
        pytest.approx(expected.cpus),
        pytest.approx(expected.gpus),
    )


def test_a_placement_speaks_of_workers() -> None:
    assert str(Placement(1, 4.0, 0.5)) == "1 worker of 4 CPUs and 0.5 GPU"
    assert str(Placement(3, 1.0, 0.0)) == "3 workers of 1 CPU"


@pytest.mark.parametrize(
    ("devices", "batch_size", "placement", "most", "expected"),
    [
        # A GPU each, as long as each has 16 rows.
        ("auto", 256, Placement(8, 2.0, 1.0), 8, 8),
        ("auto", 64, Placement(8, 2.0, 1.0), 8, 4),
        ("auto", 31, Placement(8, 2.0, 1.0), 8, 1),
        ("auto", 4, Placement(8, 2.0, 1.0), 8, 1),
        ("auto", 256, Placement(8, 2.0, 1.0), 2, 2),
        # Who shares a GPU, or has none, trains alone unless it is told otherwise.
        ("auto", 256, Placement(8, 2.0, 0.5), 8, 1),
        ("auto", 256, Placement(8, 1.0, 0.0), 8, 1),
        (3, 4, Placement(8, 2.0, 1.0), 8, 3),
        (3, 4, Placement(8, 1.0, 0.0), 8, 3),
        (1, 256, Placement(8, 2.0, 0.5), 8, 1),
    ],
)
def test_how_many_train_a_model_together(
    devices: Any, batch_size: int, placement: Placement, most: int, expected: int
) -> None:
    training = TrainingConfig(devices=devices, batch_size=batch_size)
    assert team_size(training, placement, most) == expected


def test_workers_that_share_a_gpu_train_no_model_together() -> None:
    with pytest.raises(ConfigError, match=r"training\.devices: .* 0\.5 of one \(got 2\)\. Set workers\.per_gpu to 1"):
        team_size(TrainingConfig(devices=2), Placement(4, 2.0, 0.5), 4)


PAIRS = [{"CPU": 8.0, "GPU": 2.0}] * 2
MIXED = [{"CPU": 3.0}, {"CPU": 3.0}, {"CPU": 2.0, "GPU": 1.0}]


@pytest.mark.parametrize(
    ("placement", "nodes", "devices", "words"),
    [
        # Four GPUs in all, and never more than two of a node.
        (Placement(4, 4.0, 1.0), PAIRS, 3, r"has 2 \(4 CPUs and 1 GPU each; nodes: 2 of 8 CPUs and 2 GPUs\)"),
        (Placement(8, 1.0, 0.0), MIXED, 4, r"has 3 \(1 CPU each; nodes: 2 of 3 CPUs, 1 of 2 CPUs and 1 GPUs\)"),
        # There is room, and no worker in it.
        (Placement(2, 1.0, 0.0), [{"CPU": 8.0}], 3, r"has 2 \(1 CPU each; nodes: 1 of 8 CPUs\)"),
    ],
)
def test_a_team_that_no_node_has_room_for_is_refused_with_what_the_largest_has(
    placement: Placement, nodes: list[dict[str, float]], devices: int, words: str
) -> None:
    with pytest.raises(ClusterError, match=rf"^training\.devices: no node has .*{words} \(got {devices}\)"):
        settled_team(TrainingConfig(devices=devices), placement, nodes)
    assert settled_team(TrainingConfig(devices=devices - 1), placement, nodes) == devices - 1
    # A larger node may join, with the workers that find no room now.
    grown = min(devices, placement.workers)
    assert settled_team(TrainingConfig(devices=grown), placement, nodes, growing=True) == grown


def test_auto_counts_what_single_nodes_hold_not_what_they_have_in_sum() -> None:
    assert place(WorkersConfig(cpus=2, gpus=0), MIXED).workers == 3
    assert place(WorkersConfig(), [{"CPU": 8.0, "GPU": 2.0}, {"CPU": 2.0, "GPU": 1.0}]) == Placement(3, 2.0, 1.0)


@pytest.mark.parametrize("growing", [False, True])
@pytest.mark.parametrize(
    ("workers", "nodes", "key", "words"),
    [
        ({"cpus": 3}, [{"CPU": 2.0}], "workers.cpus", r"the largest has 2 \(got 3"),
        ({"gpus": 1}, [{"CPU": 2.0}], "workers.gpus", r"the largest has 0 \(got 1"),
        ({"gpus": 2}, [{"CPU": 4.0, "GPU": 1.0}], "workers.gpus", "the largest has 1"),
        ({"cpus": 4, "gpus": 0}, MIXED, "workers.cpus", "the largest has 3"),
        ({"cpus": 3, "gpus": 1}, MIXED, "workers.cpus and workers.gpus", "no node has both at once"),
    ],
)
def test_a_worker_that_no_node_could_ever_hold_is_refused_by_key(
    workers: dict[str, Any], nodes: list[dict[str, float]], key: str, words: str, growing: bool
) -> None:
    with pytest.raises(ClusterError, match=f"^{key}: .*{words}"):
        place(WorkersConfig(**workers), nodes, growing=growing)


@pytest.mark.parametrize(
    ("workers", "nodes", "words"),
    [
        ({"count": 3}, [{"CPU": 2.0}], r"room for 2 at a time \(1 CPU each; nodes: 1 of 2 CPUs\) \(got 3\)"),
        ({"count": 2, "cpus": 2}, [{"CPU": 2.0}], "room for 1"),
        ({"count": 3, "cpus": 3, "gpus": 0}, MIXED, "room for 2"),
        ({"count": 2}, [{"CPU": 4.0, "GPU": 1.0}], "room for 1"),
    ],
)
def test_more_workers_than_have_room_are_refused_unless_the_cluster_grows(
    workers: dict[str, Any], nodes: list[dict[str, float]], words: str
) -> None:
    with pytest.raises(ClusterError, match=rf"^workers\.count: .*{words}"):
        place(WorkersConfig(**workers), nodes)
    assert place(WorkersConfig(**workers), nodes, growing=True).workers == workers["count"]


@pytest.mark.parametrize("nodes", [[], [{"CPU": 0.0}]])
def test_where_no_node_has_joined_yet_a_growing_cluster_is_trusted(nodes: list[dict[str, float]]) -> None:
    assert place(WorkersConfig(count=5, cpus=8, gpus=1), nodes, growing=True) == Placement(5, 8.0, 1.0)
    assert place(WorkersConfig(), nodes, growing=True) == Placement(1, 1.0, 0.0)
    with pytest.raises(ClusterError, match=r"^workers\.cpus: no node has so many CPUs"):
        place(WorkersConfig(), nodes)
