"""What is counted is exported under the names that the dashboard asks for."""

from __future__ import annotations

import json
import re
import urllib.request
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
    with backend_of(config, 1) as backend:
        backend.extract(Extraction(pool, "encoder", 0, config.extraction))
        backend.round_closed(ROUND)
        lines: dict[str, float] = {}
        node = ray.nodes()[0]
        address = f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}"

        def read() -> bool:
            with urllib.request.urlopen(address, timeout=10) as answer:
                for line in answer.read().decode().splitlines():
                    if line.startswith("ray_asvp"):
                        name, value = line.split("{")[0], float(line.rpartition(" ")[2])
                        lines[name] = max(value, lines.get(name, 0.0))
            return {exported(name) for name in METRICS} <= set(lines)

        wait_until(read, 60)
    assert lines["ray_asvp_rows_extracted_total"] == len(pool)
    assert lines["ray_asvp_workers"] == 1
    assert lines["ray_asvp_dollars_total"] == 2.5
    assert lines["ray_asvp_refreshes_total"] == 1


def test_nothing_is_counted_that_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvp.actors.metrics._made", lambda name: pytest.fail(name))
    count("asvp_rounds", 0)
    with pytest.raises(pytest.fail.Exception, match="asvp_rounds"):
        count_round(ROUND)
