"""Whether a cluster can run a configuration: what is held against it, in a line each."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence

from asvp.actors.cluster import SAME_VERSIONS, cluster, listed, may_grow, nodes, version_teller
from asvp.actors.places import passing_places
from asvp.actors.survey import Asked, NodeTold, survey
from asvp.driver.fit import ClusterFit
from asvp.driver.prepared import Prepared

OUT, CACHE = "--out", "extraction.cache"
_MENDS = {
    OUT: "Name a folder that all nodes mount at the same path, and may write in",
    CACHE: "Without it nodes compute what others have: name a folder that all nodes mount at the same path, or a URI",
    "encoder.model": "Put it in a folder that all nodes mount at the same path",
}
_ROWS = "Put the data in a folder that all nodes mount at the same path, or name a URI that all of them reach"


def check_cluster(prepared: Prepared, address: str, out: str) -> ClusterFit:
    """Hold the cluster that answers at an address against a configuration; what is tried there leaves nothing behind.

    Room for workers is not looked at here; see `place`.

    Parameters
    ----------
    prepared : Prepared
    address : str
        HOST:PORT, "auto" or "local".
    out : str
        A folder or URI, where a run or sweep would write.

    Raises
    ------
    ClusterError
        If nothing answers there.
    """
    asked = _asked(prepared, out)
    with cluster(address, any_versions=True):
        told = survey(asked)
        here = version_teller()()
        return ClusterFit(
            nodes(),
            may_grow(),
            [node.store_bytes for node in told if node.cpus],
            [*_version_errors(told, here), *_problems(told, optional=False)],
            [*_problems(told, optional=True), *passing_places(out, prepared.config)],
        )


def _asked(prepared: Prepared, out: str) -> Asked:
    config, dataset = prepared.config, prepared.dataset
    given, there = {OUT: out, CACHE: config.extraction.cache}, {}
    places = {key: place for key, place in given.items() if place is not None}
    uris = {key: place for key, place in places.items() if "://" in place}
    written = {key: place for key, place in places.items() if key not in uris}
    if dataset.kind != "features" and os.path.exists(os.path.expanduser(config.encoder.model)):
        there["encoder.model"] = os.path.abspath(os.path.expanduser(config.encoder.model))
    return Asked(written, there, {"data.pool": dataset.pool, "data.test": dataset.test}, uris)


def _version_errors(told: Sequence[NodeTold], here: dict[str, str]) -> Iterator[str]:
    for node in told:
        if node.silent:
            yield f"the node {node.name} {node.silent}. Look at `ray status` and at Ray's logs there"
        elif node.versions != here:
            yield f"the node {node.name} has {listed(node.versions)}; this process has {listed(here)}. {SAME_VERSIONS}"


def _problems(told: Sequence[NodeTold], *, optional: bool) -> Iterator[str]:
    """What nodes cannot do; only a cache can be done without."""
    for node in told:
        who = node.name if node.name == "this process" else f"the node {node.name}"
        for key, problem in node.problems.items():
            if (key == CACHE) == optional:
                yield f"{key}: {who} {problem}. {_MENDS.get(key, _ROWS)}"
