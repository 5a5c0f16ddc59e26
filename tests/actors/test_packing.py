"""How many workers share a GPU: as many as is fastest and fits, measured once."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from recording import Told
from tiny_runs import tiny_config

import asvp.actors.packing
from asvp.actors.cluster import GpuNode, gpu_nodes
from asvp.actors.packing import compare, fastest, with_packing
from asvp.compute.jobs import EncoderSpec
from asvp.compute.probe import Probe
from asvp.config import WorkersConfig
from asvp.data import open_dataset
from asvp.features.cache import Cache
from asvp.progress import SilentReporter


def a_probe(folder: Path) -> Probe:
    config = tiny_config(folder)
    dataset = open_dataset(config.data)
    return Probe(EncoderSpec(config.encoder, "text"), dataset.pool, config.training, len(dataset.classes))


def test_more_workers_have_to_be_faster_by_a_margin() -> None:
    assert fastest({1: 1.0, 2: 1.9, 4: 3.0, 8: 2.9}) == 4
    assert fastest({1: 1.0, 2: 1.02, 4: 1.04}) == 1
    assert fastest({}) == 1


def test_what_does_not_fit_is_not_tried_any_further() -> None:
    asked = []

    def rate(count: int) -> float | None:
        asked.append(count)
        return None if count == 4 else float(count)

    assert compare((1, 2, 4, 8), rate, lambda: 8) == {1: 1.0, 2: 2.0}
    assert asked == [1, 2, 4]
    assert compare((1, 2, 4, 8), float, lambda: 2) == {1: 1.0, 2: 2.0}, "memory forbids more"


@pytest.mark.parametrize(
    "workers", [WorkersConfig(per_gpu=2), WorkersConfig(gpus=1.0), WorkersConfig(gpus=0.0)], ids=str
)
def test_nothing_is_measured_where_the_configuration_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: WorkersConfig
) -> None:
    monkeypatch.setattr(asvp.actors.packing, "gpu_nodes", lambda: [GpuNode("H100", 16, 1)])
    heard = Told()
    assert with_packing(workers, a_probe(tmp_path), None, heard) == workers
    assert heard.lines == []


def test_nothing_is_measured_without_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asvp.actors.packing, "gpu_nodes", lambda: [])
    assert with_packing(WorkersConfig(), a_probe(tmp_path), None, SilentReporter()) == WorkersConfig()


def test_a_gpu_with_few_cores_beside_it_is_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asvp.actors.packing, "gpu_nodes", lambda: [GpuNode("", 1.0, 1.0)])
    assert with_packing(WorkersConfig(), a_probe(tmp_path), None, SilentReporter()).per_gpu == 1


def test_gpus_of_workers_that_train_together_are_not_shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asvp.actors.packing, "gpu_nodes", lambda: [GpuNode("H100", 16, 2)])
    probe, heard = a_probe(tmp_path), Told()
    together = replace(probe, training=probe.training.model_copy(update={"devices": 2}))
    assert with_packing(WorkersConfig(), together, None, heard).per_gpu == 1
    assert heard.lines == []


def test_workers_are_tried_on_one_gpu_and_the_number_is_remembered(
    ray_cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A GPU that Ray counts and nobody has: the work is done on the processor.
    ray_cluster.add_node(num_cpus=2, num_gpus=1, object_store_memory=100 << 20)
    ray_cluster.wait_for_nodes()
    assert [(node.cpus, node.gpus) for node in gpu_nodes()] == [(2.0, 1.0)]
    cache, probe, first, second = Cache(str(tmp_path / "cache")), a_probe(tmp_path), Told(), Told()
    found = with_packing(WorkersConfig(), probe, cache, first).per_gpu
    assert found in (1, 2)
    assert first.lines[0] == "Measuring how many workers should share a GPU: 1, 2"
    assert first.lines[1].startswith(f"{found} worker")
    assert "1: " in first.lines[1]
    assert "2: " in first.lines[1]
    assert with_packing(WorkersConfig(), probe, cache, second).per_gpu == found
    assert second.lines == [], "it is known"
