"""A worker that Ray's memory monitor ends is replaced, and the features are the same.

What it watches is the memory of the whole machine, so this is left to `make test-all`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import ray
from numpy.testing import assert_array_equal
from ray.cluster_utils import Cluster
from ray_pools import backend_of, whole
from tiny_runs import wide_config

from asvp.compute import Extraction
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec
from asvp.data import open_dataset
from asvp.progress import SilentReporter

pytestmark = [pytest.mark.slow, pytest.mark.long]

ROOM = 3 << 30
"""That is free before the monitor ends somebody: Ray, its workers and others on the machine need some of it."""
CHUNK = 128 << 20


@pytest.fixture
def watched() -> Iterator[Any]:
    """A node whose monitor ends processes while most of the machine's memory is still free."""
    ray.shutdown()
    memory = psutil.virtual_memory()
    settings = {
        "memory_usage_threshold": (memory.total - memory.available + ROOM) / memory.total,
        "memory_monitor_refresh_ms": 100,
    }
    head = {"num_cpus": 2, "object_store_memory": 100 << 20, "_system_config": settings}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", namespace="tests")
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def hungry(base: Any, row: int, told: Path) -> Any:
    """A source of which whoever is the first to read a row takes more and more memory, until it is ended.

    Its process number is then in `told`.
    """

    class Hungry:
        kind = "text"

        def __len__(self) -> int:
            return len(base)

        def take(self, rows: np.ndarray) -> Any:
            if row in rows and not told.exists():
                told.write_text(str(psutil.Process().pid))
                held = []
                while sum(map(len, held)) < 2 * ROOM:
                    held.append(b"x" * CHUNK)
                    time.sleep(0.01)
                time.sleep(60)
            return base.take(rows)

        def digest(self) -> str:
            return "hungry"

    return Hungry()


def test_a_worker_that_is_ended_for_its_memory_is_replaced(watched: Any, tmp_path: Path) -> None:
    config = wide_config(tmp_path)
    dataset = open_dataset(config.data)
    alone = InProcessBackend(EncoderSpec(config.encoder, "text"), None, SilentReporter())
    expected = alone.extract(Extraction(dataset.pool, "encoder", 0, config.extraction))
    source = hungry(dataset.pool, len(dataset.pool) // 2, tmp_path / "ended")
    with backend_of(config, 1) as backend:
        features = backend.extract(Extraction(source, "encoder", 0, config.extraction))
        assert_array_equal(whole(features), whole(expected))
        # It would wait for a minute, and live until the pool is closed.
        assert not psutil.pid_exists(int((tmp_path / "ended").read_text()))
