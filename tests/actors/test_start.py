"""A Ray that does not start in time."""

from __future__ import annotations

from typing import Any

import pytest
import ray

from asvp.actors.cluster import cluster
from asvp.errors import ClusterError


def test_a_machine_that_is_too_busy_to_start_ray_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def init(**_: Any) -> None:
        raise Exception("The current node timed out during startup. This could happen because ...")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", init)
    with pytest.raises(ClusterError, match=r"cannot be reached: .*timed out.*too busy"), cluster("local"):
        raise AssertionError
