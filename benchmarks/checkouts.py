"""Checkouts of the code as packages that can be imported."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def link_tree(code: Path, folder: Path) -> None:
    """The three folders of a checkout as the package `asvp` in a folder, as an installation would have it."""
    (folder / "asvp").mkdir()
    places = [*(code / "pipeline").iterdir(), code / "actors", code / "tune_spaces"]
    for place in places:
        if place.name != "__pycache__":
            (folder / "asvp" / place.name).symlink_to(place)


@contextmanager
def older(code: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The package of an older checkout: its name, and variables with which a process imports it."""
    code = code.resolve()
    if re.search(r"^from pipeline\b", (code / "pipeline" / "__main__.py").read_text(encoding="utf-8"), re.MULTILINE):
        # Before its three folders became one package they were three.
        yield "pipeline", {"PYTHONPATH": str(code)}
        return
    with tempfile.TemporaryDirectory() as name:
        link_tree(code, Path(name))
        yield "asvp", {"PYTHONPATH": name}
