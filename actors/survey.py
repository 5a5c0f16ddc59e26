"""What each node of a cluster says of itself: versions, resources, and what of a run it sees."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import ray

from asvp.actors.cluster import ask_every_node, living_nodes, version_teller
from asvp.data.source import Source
from asvp.errors import AsvpError, RunDirectoryError, StorageError
from asvp.remote.objects import Objects, refused

_PROBE = ".asvp-probe-"
_ASKED = "asked"


@dataclass(frozen=True)
class Asked:
    """What a run needs on every node.

    Attributes
    ----------
    written : dict of str to str
        Local folders that every process reads and writes, existing or not, by the option that names them.
    there : dict of str to str
        Local files and folders that have to exist, by option.
    sources : dict of str to Source
        Rows that have to be readable, and the same, by option.
    uris : dict of str to str
        Where every process writes and reads objects, by option.
    """

    written: Mapping[str, str]
    there: Mapping[str, str]
    sources: Mapping[str, Source]
    uris: Mapping[str, str] = field(default_factory=dict)


@dataclass
class NodeTold:
    """What a node says.

    Attributes
    ----------
    name : str
        Its address, with the beginning of its id where several nodes share one.
    cpus, gpus : float
    store_bytes : int
        Of its object store.
    versions : dict of str to str
        Of Python, Ray and asvp; empty where it gave no answer.
    silent : str
        Why there is no answer; empty where there is one.
    problems : dict of str to str
        What it cannot do with what a run needs, in words that follow its name, by option.
    """

    name: str
    cpus: float
    gpus: float
    store_bytes: int
    versions: dict[str, str] = field(default_factory=dict)
    silent: str = ""
    problems: dict[str, str] = field(default_factory=dict)


def survey(asked: Asked) -> list[NodeTold]:
    """Ask every living node of the cluster that this process is connected to; one lost meanwhile is left out.

    Nothing stays: in each folder, or the nearest one above that exists, every node writes a file, which is removed.
    Rows are read, and URIs are tried, only where all nodes have this process's asvp, Python and Ray.

    Parameters
    ----------
    asked : Asked

    Returns
    -------
    list of NodeTold
        By name; the first has what this process itself cannot do, if anything, under the name "this process".
    """
    ids = _named(living_nodes())
    here = NodeTold("this process", 0.0, 0.0, 0, version_teller()())
    with _planted(asked.written, here) as planted:
        ids = _ask(ids, _teller(), planted, dict(asked.there))
        for node, told in ids.items():
            unseen = {key for key, folder in planted.items() if not os.path.exists(os.path.join(folder, node))}
            for key in unseen - told.problems.keys():
                if not told.silent:
                    told.problems[key] = "writes there what this process does not see"
    if all(told.versions == here.versions for told in ids.values()):
        ids = _read_everywhere(ids, here, asked)
    ordered = sorted(ids.values(), key=lambda told: told.name)
    return [here, *ordered] if here.problems else ordered


def _named(nodes: list[dict[str, Any]]) -> dict[str, NodeTold]:
    shared = Counter(node["NodeManagerAddress"] for node in nodes)
    found = {}
    for node in nodes:
        has, address, number = node["Resources"], node["NodeManagerAddress"], node["NodeID"]
        name = address if shared[address] == 1 else f"{address} ({number[:8]})"
        found[number] = NodeTold(
            name, float(has.get("CPU", 0)), float(has.get("GPU", 0)), int(has.get("object_store_memory", 0))
        )
    return found


@contextmanager
def _planted(places: Mapping[str, str], here: NodeTold) -> Iterator[dict[str, str]]:
    """A folder with a file to look for in each place, or in the nearest folder above it that exists."""
    planted: dict[str, str] = {}
    try:
        for key, place in places.items():
            path = Path(os.path.abspath(os.path.expanduser(place)))
            nearest = next(folder for folder in (path, *path.parents) if folder.is_dir())
            probe = nearest / f"{_PROBE}{uuid.uuid4().hex}"
            try:
                probe.mkdir()
                planted[key] = str(probe)
                # Nodes may work as other users.
                probe.chmod(0o777)
                (probe / _ASKED).write_text("")
            except OSError as error:
                here.problems[key] = f"cannot write in {nearest}: {error.strerror}"
        yield planted
    finally:
        for folder in planted.values():
            shutil.rmtree(folder, ignore_errors=True)


def _teller() -> Callable[..., tuple[dict[str, str], dict[str, str]]]:
    versions = version_teller()
    asked = _ASKED

    def tell(node: str, planted: dict[str, str], there: dict[str, str]) -> tuple[dict[str, str], dict[str, str]]:
        # Defined in a function, this travels by value: a node without asvp can run it.
        import os

        problems = {key: f"has no {path}" for key, path in there.items() if not os.path.exists(path)}
        for key, folder in planted.items():
            place = os.path.dirname(folder)
            try:
                with open(os.path.join(folder, asked)) as file:
                    file.read()
            except FileNotFoundError:
                problems[key] = f"does not see what this process writes in {place}"
                continue
            except OSError as error:
                problems[key] = f"cannot read in {place}: {error.strerror}"
                continue
            try:
                with open(os.path.join(folder, node), "x"):
                    pass
            except OSError as error:
                problems[key] = f"cannot write in {place}: {error.strerror}"
        return versions(), problems

    return tell


def _ask(ids: Mapping[str, NodeTold], tell: Callable[..., Any], *given: Any) -> dict[str, NodeTold]:
    """Have a function called with a node's id and what is given, on every node; those that are still alive."""
    answers = ask_every_node(tell, list(ids), *given)
    for node, answer in answers.items():
        told = ids[node]
        if isinstance(answer, str):
            told.silent = answer
        else:
            told.versions, problems = answer
            told.problems |= problems
    return {node: ids[node] for node in answers}


def _read_everywhere(ids: Mapping[str, NodeTold], here: NodeTold, asked: Asked) -> dict[str, NodeTold]:
    """Have the rows read on every node; those that are still alive."""
    digests, problems = read_ends(asked.sources)
    here.problems |= problems
    uris = dict(asked.uris)

    def read(node: str, sources: Mapping[str, Source]) -> tuple[dict[str, str], dict[str, str]]:
        found, problems = read_ends(sources)
        for key, uri in uris.items():
            problems |= try_uri(key, uri, node)
        return found, problems

    # Beside the function, and once for all nodes: Ray refuses a function with the row numbers of a large pool.
    answers = ask_every_node(read, list(ids), ray.put(dict(asked.sources)))
    for node, answer in answers.items():
        told = ids[node]
        if isinstance(answer, str):
            told.silent = answer
            continue
        found, problems = answer
        told.problems |= problems
        for key, digest in found.items():
            if key in digests and digest != digests[key]:
                told.problems[key] = "reads other rows there than this process"
    return {node: ids[node] for node in answers}


def read_ends(sources: Mapping[str, Source]) -> tuple[dict[str, str], dict[str, str]]:
    """Fingerprints of the first and last row of each source, and what is wrong with those that cannot be read."""
    found, problems = {}, {}
    for key, source in sources.items():
        try:
            rows = source.take(np.unique(np.array([0, len(source) - 1], dtype=np.int64)))
        except (AsvpError, OSError) as error:
            problems[key] = f"cannot read it: {' '.join(str(error).split())}"
        else:
            parts = [row.encode() if isinstance(row, str) else bytes(row) for row in rows]
            found[key] = hashlib.sha256(b"\0".join(parts)).hexdigest()
    return found, problems


def try_uri(key: str, uri: str, node: str) -> dict[str, str]:
    """What is wrong with a URI that an option names: a small object is written there, read and removed."""
    name = f"{_PROBE}{node}"
    try:
        objects = Objects(uri.rstrip("/"), key=key)
        objects.put(name, node.encode())
        read = objects.read(name)
        objects.remove(name)
    except StorageError as error:
        return {key: f"cannot use it: {' '.join(str(refused(error, key)).split())}"}
    except RunDirectoryError as error:
        return {key: f"cannot use it: {' '.join(str(error).split())}"}
    return {} if read == node.encode() else {key: "does not read there what it has written"}
