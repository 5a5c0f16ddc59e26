"""Joining or starting Ray, quietly, with clear errors."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")

import ray

from asvp.errors import ClusterError

_ANSWER_SECONDS = 5.0
_LONGEST_SOCKET = 107
"""Bytes of a socket's path on Linux."""
_SESSION = "session_2026-01-31_12-00-00_000000_4194304"
"""As long as the name of a session can be: a time and a process id."""


@contextmanager
def cluster(address: str | None = None) -> Iterator[None]:
    """Use a Ray cluster for a while; leave a running one as it was found.

    Parameters
    ----------
    address : str, optional
        HOST:PORT of a cluster, or "auto"; "local" starts one of this machine's own. None: the cluster that
        RAY_ADDRESS or this machine offers, else a local one.

    Raises
    ------
    ClusterError
        If there is no answer from the address.
    """
    if address and ":" in address and "://" not in address:
        _require_answer(address)
    if ray.is_initialized():
        yield
        return
    _connect(address)
    try:
        yield
    finally:
        ray.shutdown()


def resources() -> dict[str, float]:
    """CPUs, GPUs and bytes of object store of the whole cluster."""
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return {name: float(total.get(name, 0.0)) for name in ("CPU", "GPU", "object_store_memory")}


def node_cores() -> dict[str, int]:
    """CPU cores of each living node that has any, by the node's id."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]}
    return {node: count for node, count in cores.items() if count}


def _connect(address: str | None) -> None:
    _require_short_sockets(address)
    with _signals_as_they_were():
        _initialise(address)


def _initialise(address: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, **options)
        elif address:
            ray.init(address=address, **options)
        else:
            # A cluster already on this machine is joined; otherwise this starts one.
            ray.init(**options)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ClusterError(
            f"Ray cannot be reached: {first}",
            key="--address",
            value=address,
            mend="Start a cluster with `ray start --head`, or leave --address out to use this machine",
        ) from None


@contextmanager
def _signals_as_they_were() -> Iterator[None]:
    """Keep this process's own handler of SIGTERM, which `ray.init` replaces."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def _require_short_sockets(address: str | None) -> None:
    """Raise a ClusterError where a cluster of this machine's own would have socket names that are too long."""
    folder = os.environ.get("RAY_TMPDIR")
    if not folder or address not in (None, "local"):
        return
    length = len(os.fsencode(os.path.join(folder, "ray", _SESSION, "sockets", "plasma_store")))
    if length > _LONGEST_SOCKET:
        raise ClusterError(
            f"is too long: Ray's sockets in it would have names of {length} bytes, and {_LONGEST_SOCKET} are allowed",
            key="RAY_TMPDIR",
            value=folder,
            mend=f"Name a folder that is {length - _LONGEST_SOCKET} bytes shorter, or leave it out to use /tmp",
        )


def _require_answer(address: str) -> None:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS):
            return
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(
            f"nothing answers there: {error}",
            key="--address",
            value=address,
            mend="Look for the head's address in the output of `ray start --head`, or leave --address out",
        ) from None
