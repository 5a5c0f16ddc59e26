"""Folders that only one node sees, or that go with a job."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

from asvp.actors.cluster import node_cores
from asvp.config import Config

_OF_A_JOB = re.compile(r"runtime_resources|working_dir_files|session_\d{4}-\d\d-\d\d_.+")
"""Folders of Ray's own: what it unpacks for a job on a node, and removes."""


def passing_places(out: Path | str, config: Config) -> Iterator[str]:
    """Warnings, a line each, where the output or the cache lies in a folder that Ray removes or that one node has.

    Parameters
    ----------
    out : Path or str
        Where the output goes, a folder or a URI.
    config : Config
    """
    places = {"--out": str(out), "extraction.cache": config.extraction.cache}
    given = {key: place for key, place in places.items() if place is not None and "://" not in place}
    several = len(node_cores()) > 1
    for key, text in given.items():
        path = Path(os.path.abspath(Path(text).expanduser()))
        if any(_OF_A_JOB.fullmatch(part) for part in path.parts):
            yield f"{key} lies in a folder of Ray's, {path}, which is removed with the job; name one that stays"
        elif several and _is_temporary(path):
            yield f"{key} lies in {path}, which each node has for itself; name a folder that all nodes see"


def _is_temporary(path: Path) -> bool:
    return any(path.is_relative_to(folder) for folder in (tempfile.gettempdir(), "/tmp", "/var/tmp", "/dev/shm"))
