"""What is counted is exported under the names that the dashboard asks for."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray_pools import backend_of
from tiny_runs import wait_until, wide_config

from asvp.actors.metrics import METRICS, count_round
from asvp.compute import Extraction
from asvp.data import open_dataset
from asvp.data.source import View

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana.json"
ROUND = {
    "refreshed": True,
    "saved_seconds": 3.0,
    "device_seconds": {"cpu": 5.0, "gpu": 0.0},
    "cost": {"labels": 2.5, "sampling": 0.5, "training": 0.25, "evaluation": 0.0},
}


def exported(name: str) -> str:
    return f"ray_{name}_total" if METRICS[name].kind == "counter" else f"ray_{name}"


def test_the_dashboard_shows_what_is_exported_and_all_of_it() -> None:
    board = json.loads(DASHBOARD.read_text())
    asked = set()
    for panel in board["panels"]:
        for target in panel["targets"]:
            found = re.findall(r"ray_\w+", target["expr"])
            assert found
            asked |= set(found)
            for name, tags in ((one, METRICS[one].tags) for one in METRICS if exported(one) in found):
                told = re.findall(r"by \((\w+)\)", target["expr"])
                assert set(told) <= set(tags), name
    assert asked == {exported(name) for name in METRICS}


@pytest.mark.ray
def test_ray_exports_what_a_pool_and_its_driver_count(ray_local: Any, tmp_path: Path) -> None:
    config = wide_config(tmp_path)
    # Other tests have pools on this Ray, and none extracts so many rows.
    rows = View(open_dataset(config.data).pool, np.arange(977))
    node = ray.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"
    with backend_of(config, 1) as backend:
        backend.extract(Extraction(rows, "encoder", 0, config.extraction))
        backend.round_closed(ROUND)
        told: list[tuple[str, str, float]] = []

        def read() -> bool:
            with urllib.request.urlopen(address, timeout=10) as answer:
                lines = [line for line in answer.read().decode().splitlines() if line.startswith("ray_asvp")]
            told[:] = [(line.partition("{")[0], line, float(line.rpartition(" ")[2])) for line in lines]
            extracted = [value for name, _, value in told if name == exported("asvp_rows_extracted")]
            return len(rows) in extracted and {exported(name) for name in METRICS} <= {name for name, _, _ in told}

        wait_until(read, 60)
        broker = backend._desk._broker._actor_id.hex()[:8]
    assert [value for name, line, value in told if name == "ray_asvp_workers" and broker in line] == [1]


def test_a_round_is_counted_once_by_what_it_did(monkeypatch: pytest.MonkeyPatch) -> None:
    counted: dict[tuple[str, ...], float] = {}
    monkeypatch.setattr("asvp.actors.metrics._made", lambda name: Made(name, counted))
    count_round(ROUND)
    assert counted == {
        ("asvp_rounds",): 1,
        ("asvp_refreshes",): 1,
        ("asvp_reused_seconds",): 3.0,
        ("asvp_device_seconds", "cpu"): 5.0,
        ("asvp_dollars", "labels"): 2.5,
        ("asvp_dollars", "sampling"): 0.5,
        ("asvp_dollars", "training"): 0.25,
    }


class Made:
    """Adds to a table in place of Ray."""

    def __init__(self, name: str, counted: dict[tuple[str, ...], float]) -> None:
        self._name, self._counted = name, counted

    def inc(self, amount: float, tags: dict[str, str]) -> None:
        key = (self._name, *tags.values())
        assert key not in self._counted
        self._counted[key] = amount
