"""Fixtures and settings that every test shares; the environment is set before Ray or matplotlib is imported."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile

# Sessions that run side by side must not find each other's Ray; the path is short because it holds sockets.
os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="asvp-", dir="/tmp")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# Ray's workers are polite by default, and starve beside the tests that wait for them.
os.environ.setdefault("RAY_worker_niceness", "0")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["MPLBACKEND"] = "Agg"
# A suite that was started in the background ignores Ctrl-C, and so would all that it starts.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from collections.abc import Iterator
from typing import Any

import pytest
from forked import fork_ray_workers

OBJECT_STORE_BYTES = 200 << 20


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Sums in one order everywhere, and no test that fights another for cores."""
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def no_threads_left(one_thread: None) -> Iterator[None]:
    """Whatever a test sets, the next one has one thread again.

    With three or more, PyTorch 2.13 (oneDNN 3.12) writes past its memory in the gradient of a convolution of 8 channels
    with stride 2, such as the tiny ResNet of tests/models/test_families.py has.
    """
    import torch

    yield
    torch.set_num_threads(1)


def start_local_ray() -> None:
    """A Ray of this session's own with four logical CPUs and no GPU."""
    import ray

    fork_ray_workers()
    ray.init(
        address="local",
        num_cpus=4,
        num_gpus=0,
        include_dashboard=False,
        object_store_memory=OBJECT_STORE_BYTES,
        log_to_driver=False,
        logging_level="ERROR",
        namespace="tests",
    )


@pytest.fixture(scope="session")
def ray_local() -> Iterator[Any]:
    """The `ray` module, connected to a local Ray of the session's own."""
    import ray

    if not ray.is_initialized():
        start_local_ray()
    yield ray
    ray.shutdown()


@pytest.fixture(scope="module")
def ray_cluster() -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` with a head node, to which the tests of a file add nodes.

    A process is connected to one Ray: the session's own ends before, and begins anew with the next test that asks for
    it. What it held is lost, so a file's tests with clusters are moved behind its others.
    """
    import ray
    from ray.cluster_utils import Cluster

    fork_ray_workers()
    ray.shutdown()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": OBJECT_STORE_BYTES})
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR", namespace="tests")
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Begin the session's own Ray anew if a cluster has taken its place."""
    ray = sys.modules.get("ray")
    if ray is not None and "ray_local" in getattr(item, "fixturenames", ()) and not ray.is_initialized():
        start_local_ray()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests by the Ray they use; files that take long come first, and in each the tests with a cluster last."""
    for item in items:
        names = getattr(item, "fixturenames", ())
        if "ray_cluster" in names:
            item.add_marker(pytest.mark.cluster)
        elif "ray_local" in names:
            item.add_marker(pytest.mark.ray)
    # Workers that run side by side take files in this order, so none is left alone with a long one at the end; and once
    # files with clusters are done, the session's own Ray begins for all others, and stays.
    early = [{item.path for item in items if item.get_closest_marker(name)} for name in ("cluster", "long", "ray")]
    places = {path: place for place, path in enumerate(dict.fromkeys(item.path for item in items))}

    def order(item: pytest.Item) -> tuple[int, int, bool]:
        first = next((place for place, paths in enumerate(early) if item.path in paths), len(early))
        return first, places[item.path], item.get_closest_marker("cluster") is not None

    items.sort(key=order)


def pytest_unconfigure() -> None:
    """Remove what the session's Ray has left."""
    shutil.rmtree(os.environ["RAY_TMPDIR"], ignore_errors=True)
