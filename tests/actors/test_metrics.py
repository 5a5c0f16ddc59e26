"""What is counted is exported under the names that the dashboard asks for."""

from __future__ import annotations

import json
import re
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import ray
from ray_pools import backend_of
from tiny_runs import wait_until, wide_config

from asvp.actors.metrics import METRICS, count, count_round
from asvp.compute import Extraction
from asvp.data import open_dataset

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
    pool = open_dataset(config.data).pool
    node = ray.nodes()[0]
    address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"

    def series() -> dict[str, float]:
        with urllib.request.urlopen(address, timeout=10) as answer:
            lines = [line for line in answer.read().decode().splitlines() if line.startswith("ray_asvp")]
        return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}

    # Other tests have had pools on this Ray.
    before = series()

    def counted() -> dict[str, float]:
        new: Counter[str] = Counter()
        for name, value in series().items():
            if name not in before or value != before[name]:
                new[name.partition("{")[0]] += value - before.get(name, 0.0)
        return new

    with backend_of(config, 1) as backend:
        backend.extract(Extraction(pool, "encoder", 0, config.extraction))
        backend.round_closed(ROUND)
        wait_until(lambda: {exported(name) for name in METRICS} <= set(counted()), 60)
        told = counted()
    assert told["ray_asvp_rows_extracted_total"] == len(pool)
    assert told["ray_asvp_workers"] == 1
    assert told["ray_asvp_dollars_total"] == 3.25
    assert told["ray_asvp_refreshes_total"] == 1


def test_nothing_is_counted_that_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvp.actors.metrics._made", lambda name: pytest.fail(name))
    count("asvp_rounds", 0)
    with pytest.raises(pytest.fail.Exception, match="asvp_rounds"):
        count_round(ROUND)
