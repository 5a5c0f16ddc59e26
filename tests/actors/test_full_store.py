"""Features that do not fit in the object store are spilled to a disk, and the run is the same."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from tiny_runs import picks, tiny_config

from asvp.config import Config
from asvp.driver.loop import run

ROWS, WIDTH = 24_000, 1024
STORE = 75 << 20
"""The least that Ray takes; the features are 94 MiB."""


@pytest.fixture(scope="module")
def small_store() -> Iterator[Any]:
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "object_store_memory": STORE})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", namespace="tests")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Ready-made features, of which each class has a direction of its own."""
    folder, generator = tmp_path_factory.mktemp("wide"), np.random.default_rng(0)
    for name, rows in (("pool", ROWS), ("test", 60)):
        labels = np.arange(rows) % 3
        features = generator.normal(size=(rows, WIDTH)).astype(np.float32)
        features[np.arange(rows), labels] += 4
        np.savez(folder / f"{name}.npz", features=features, labels=labels)
    return tiny_config(
        folder,
        data={"pool": str(folder / "pool.npz"), "test": str(folder / "test.npz")},
        extraction={"cache": None, "feature_dtype": "float32", "shard_rows": 3000},
        training={"method": "lp"},
        budget="20+10",
        workers={"count": 1, "cpus": 1},
    )


def spilled() -> int:
    """Bytes that the store has written to a disk so far."""
    from ray._private.internal_api import get_memory_info_reply, get_state_from_address

    state = get_state_from_address(ray.get_runtime_context().gcs_address)
    return int(get_memory_info_reply(state).store_stats.spilled_bytes_total)


def test_a_store_that_is_full_costs_time_alone(small_store: Any, config: Config, tmp_path: Path) -> None:
    run(config, out=tmp_path / "spilled")
    assert spilled() > 0
    run(config, out=tmp_path / "whole", in_process=True)
    assert picks(tmp_path / "spilled") == picks(tmp_path / "whole")
