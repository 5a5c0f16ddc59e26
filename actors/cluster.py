"""Joining or starting Ray, quietly, with clear errors."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
# Otherwise work beside a loop that was interrupted starts a new Ray with its next call. Read when Ray is imported.
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")

import ray
import ray.exceptions
from ray._private.services import find_bootstrap_address
from ray.job_config import JobConfig
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from asvp.actors.admission import require_admission
from asvp.actors.head import head_watched
from asvp.errors import ClusterError

SAME_VERSIONS = "Install one version of asvp, with its constraints.txt, on all nodes"

_REMEMBER_SECONDS = 5.0
_LOOPBACK = "127.0.0.1"
"""Where the dashboard and its job server listen, which run what they are sent."""
_KIND = "accelerator_type:"
_ANSWER_SECONDS = 5.0
_NODE_SECONDS = 60.0
_LONGEST_TEXT = 300
_LONGEST_SOCKET = 107
"""Bytes of a socket's path on Linux."""
_SESSION = "session_2026-01-31_12-00-00_000000_4194304"
"""As long as the name of a session can be: a time and a process id."""


@contextmanager
def cluster(address: str | None = None, *, any_versions: bool = False) -> Iterator[None]:
    """Use a Ray cluster for a while; leave a running one as it was found.

    Parameters
    ----------
    address : str, optional
        HOST:PORT of a cluster, or "auto"; "local" starts one of this machine's own. None: the cluster that
        RAY_ADDRESS or this machine offers, else a local one.
    any_versions : bool
        Whether its nodes may have other versions of asvp than this process.

    Raises
    ------
    ClusterError
        If there is no answer from the address.
    HeadLostError
        If its head goes away meanwhile.
    """
    if ray.is_initialized():
        if address and ":" in address and "://" not in address:
            _require_answer(address, "--address")
        with head_watched():
            yield
        return
    _connect(address)
    with head_watched():
        try:
            if address != "local" and not any_versions:
                require_same_versions()
            yield
        finally:
            ray.shutdown()


def nodes() -> list[dict[str, float]]:
    """CPUs and GPUs of each living node that has any."""
    there = [{name: float(node["Resources"].get(name, 0.0)) for name in ("CPU", "GPU")} for node in living_nodes()]
    return [node for node in there if any(node.values())]


@dataclass(frozen=True)
class GpuNode:
    """A node with GPUs.

    Attributes
    ----------
    kind : str
        Of its GPUs, as Ray names it; empty where it does not.
    cpus, gpus : float
        All it has.
    """

    kind: str
    cpus: float
    gpus: float


def gpu_nodes() -> list[GpuNode]:
    """The living nodes with a whole GPU or more."""
    found = []
    for node in living_nodes():
        has = node["Resources"]
        if has.get("GPU", 0.0) >= 1:
            kinds = sorted(name.removeprefix(_KIND) for name in has if name.startswith(_KIND))
            found.append(GpuNode(" and ".join(kinds), float(has.get("CPU", 0.0)), float(has["GPU"])))
    return found


def may_grow() -> bool:
    """Whether an autoscaler may add nodes to the cluster; only Ray's own state tells."""
    largest: Any = ray._private.state.state.get_max_resources_from_cluster_config()
    there = nodes()
    return any(
        most > sum(node[name] for node in there) for name, most in (largest or {}).items() if name in ("CPU", "GPU")
    )


def free_resources() -> str:
    """What is free of the cluster's CPUs and GPUs, in words."""
    total: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    free: dict[str, float] = ray.available_resources()  # type: ignore[no-untyped-call]
    told = [f"{free.get(name, 0.0):g} of {total[name]:g} {name}s free" for name in ("CPU", "GPU") if total.get(name)]
    return ", ".join(told) or "it has neither CPUs nor GPUs"


def node_cores() -> dict[str, int]:
    """CPU cores of each living node that has any, by the node's id."""
    cores = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in living_nodes()}
    return {node: count for node, count in cores.items() if count}


def has_several_nodes() -> bool:
    """Whether there is more than one node with cores, as it was a few seconds ago at most."""
    return _several_nodes(int(time.monotonic() // _REMEMBER_SECONDS))


@lru_cache(maxsize=1)
def _several_nodes(moment: int) -> bool:
    return len(node_cores()) > 1


def living_nodes() -> list[dict[str, Any]]:
    """What Ray says of each node that is alive."""
    known: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node for node in known if node["Alive"]]


@cache
def node_name(node: str) -> str:
    """What people call a node: its address, with the beginning of its id, as several may share one."""
    found = [one["NodeManagerAddress"] for one in living_nodes() if one["NodeID"] == node]
    return f"{found[0]} ({node[:8]})" if found else node[:8]


def _connect(address: str | None) -> None:
    key, wanted = ("--address", address) if address else ("RAY_ADDRESS", os.environ.get("RAY_ADDRESS") or None)
    if wanted and "://" in wanted:
        raise ClusterError(
            "is an address of Ray's client or job server, and this needs the cluster itself",
            key=key,
            value=wanted,
            mend="Give HOST:PORT as `ray start --head` prints it, or send a job with `ray job submit`",
        )
    if wanted and ":" in wanted:
        _require_answer(wanted, key)
        require_admission(wanted, key)
    _require_short_sockets(address)
    with _signals_as_they_were(), _paths_as_here():
        _initialise(address, key, wanted)


def _initialise(address: str | None, key: str, wanted: str | None) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "job_config": _PathsAsHere()}
    try:
        if address == "local":
            ray.init(address="local", include_dashboard=False, **options)
        elif address:
            ray.init(address=address, **options)
        else:
            # A cluster already on this machine is joined; otherwise this starts one.
            ray.init(address="local" if _is_gone() else None, dashboard_host=_LOOPBACK, **options)
    except Exception as error:
        # A node that does not start in time is told by a plain Exception.
        if type(error) is Exception or isinstance(error, (OSError, RuntimeError, ValueError, ray.exceptions.RayError)):
            raise _unreachable(error, key, wanted) from None
        raise


class _PathsAsHere(JobConfig):
    """Has workers look for packages where this process does.

    Ray has them look in the current folder first, where a folder called ray or asvp, or a file random.py, would be
    taken for what is installed.
    """

    def _get_proto_job_config(self) -> Any:
        self._py_driver_sys_path = [path for path in self._py_driver_sys_path if path in sys.path]
        return super()._get_proto_job_config()  # type: ignore[no-untyped-call]


@contextmanager
def _paths_as_here() -> Iterator[None]:
    """The same for the programs that Ray starts meanwhile: for some, Python looks in the current folder first."""
    before = os.environ.get("PYTHONSAFEPATH")
    os.environ["PYTHONSAFEPATH"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


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


def _unreachable(error: Exception, key: str, wanted: str | None) -> ClusterError:
    """What Ray says when it cannot be joined or started, with the likeliest mend."""
    text = " ".join(str(error).split()) or type(error).__name__
    mode = os.environ.get("RAY_AUTH_MODE", "unset")
    if "mismatch" in text:
        mend = "Use the cluster's versions of Ray and Python here, or send a job with `ray job submit`"
    elif "timed out during startup" in text:
        mend = "This machine is too busy to start Ray in time: try again when it is less so"
    elif wanted or "uthentication" in text or "oken" in text:
        mend = (
            f"If the cluster wants a token (RAY_AUTH_MODE is {mode} here), set RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN_PATH or RAY_AUTH_TOKEN to the cluster's own; if it wants none, RAY_AUTH_MODE=disabled. "
            f"Leave {key} out to use this machine"
        )
    else:
        mend = "Start a cluster with `ray start --head`, or look at Ray's own logs in its temporary folder"
    return ClusterError(f"Ray cannot be reached: {text[:_LONGEST_TEXT]}", key=key, value=wanted, mend=mend)


def require_same_versions() -> None:
    """Raise a ClusterError unless every living node answers, and has this asvp on this Python and Ray."""
    versions = version_teller()
    here, addresses = versions(), {node["NodeID"]: node["NodeManagerAddress"] for node in living_nodes()}

    def tell(node: str) -> dict[str, str]:
        return versions()

    for node, found in ask_every_node(tell, list(addresses)).items():
        if isinstance(found, str):
            raise ClusterError(
                f"the node {addresses[node]} {found}",
                key="--address",
                mend="Look at `ray status` and at Ray's logs there",
            )
        if found != here:
            raise ClusterError(
                f"the node {addresses[node]} has {listed(found)}; this process has {listed(here)}",
                key="--address",
                mend=SAME_VERSIONS,
            )


def ask_every_node(tell: Callable[..., Any], nodes: Sequence[str], *given: Any) -> dict[str, Any]:
    """Call a function on nodes, with the node's id and what is given.

    Parameters
    ----------
    tell : callable
    nodes : sequence of str
        Their ids.

    Returns
    -------
    dict of str to object
        The answer of each node that is still alive. What failed, or took longer than a minute, is a str that follows
        the node's name.
    """
    ask, asked = ray.remote(num_cpus=0, max_retries=1)(tell), {}
    for node in nodes:
        there = NodeAffinitySchedulingStrategy(node, soft=False)
        asked[ask.options(scheduling_strategy=there).remote(node, *given)] = node
    ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=_NODE_SECONDS)
    answers: dict[str, Any] = {
        asked[reference]: f"does not answer within {_NODE_SECONDS:.0f} seconds" for reference in silent
    }
    for reference in ready:
        try:
            answers[asked[reference]] = ray.get(reference)
        except ray.exceptions.RayError as error:
            answers[asked[reference]] = f"cannot answer: {' '.join(str(error).split())[:_LONGEST_TEXT]}"
    # Ray takes a node that is gone for alive until its health checks have failed, half a minute or so.
    alive = {node["NodeID"] for node in living_nodes()}
    return {node: answer for node, answer in answers.items() if node in alive or not isinstance(answer, str)}


def version_teller() -> Callable[[], dict[str, str]]:
    """A function that travels to any node and tells its versions of Python, Ray and asvp."""

    def versions() -> dict[str, str]:
        # Defined in a function, this travels by value: a node without asvp can run it.
        import platform

        import ray

        try:
            import asvp

            own = asvp.__version__
        except ImportError:
            own = "not installed"
        return {"Python": platform.python_version(), "Ray": ray.__version__, "asvp": own}

    return versions


def listed(versions: Mapping[str, str]) -> str:
    """Versions in words."""
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _is_gone() -> bool:
    """Whether the cluster that was started last on this machine was killed: Ray would wait for it for minutes."""
    noted = None if os.environ.get("RAY_ADDRESS") else find_bootstrap_address(None)
    if noted is None:
        return False
    try:
        _call(noted)
    except (OSError, ValueError, OverflowError):
        return True
    return False


def _call(address: str) -> None:
    host, _, port = address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=_ANSWER_SECONDS):
        pass


def _require_answer(address: str, key: str) -> None:
    try:
        _call(address)
    except (OSError, ValueError, OverflowError) as error:
        raise ClusterError(
            f"nothing answers there: {error}",
            key=key,
            value=address,
            mend=f"Look for the head's address in the output of `ray start --head`, or leave {key} out",
        ) from None
