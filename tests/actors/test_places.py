"""Warnings about folders that do not stay, or that not all nodes see."""

from __future__ import annotations

from pathlib import Path

import pytest

from asvp.actors import places
from asvp.actors.places import passing_places
from asvp.config import build_config


@pytest.mark.parametrize(
    ("out", "cache", "nodes", "told"),
    [
        ("/shared/out", "/shared/cache", 3, []),
        ("/shared/out", "s3://bucket/cache", 3, []),
        ("/shared/out", None, 3, []),
        ("/tmp/out", "/tmp/cache", 1, []),
        ("/tmp/out", "/dev/shm/cache", 2, ["--out lies in /tmp/out, which each", "extraction.cache lies in /dev/shm"]),
        ("/shared/session_notes/out", None, 1, []),
        ("/tmp/ray/session_2026-01-02_03-04-05_6_7/out", None, 1, ["--out lies in a folder of Ray's"]),
        ("/x/runtime_resources/working_dir_files/_ray_pkg_1/out", None, 1, ["removed with the job"]),
    ],
)
def test_a_folder_that_does_not_stay_is_told(
    out: str, cache: str | None, nodes: int, told: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "node_cores", lambda: {str(node): 1 for node in range(nodes)})
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: "/tmp")
    config = build_config({"extraction": {"cache": cache}})
    notes = list(passing_places(Path(out), config))
    assert len(notes) == len(told)
    assert all(part in note for part, note in zip(told, notes, strict=True))
