"""The plan of `asvp check`: what a run would use, and how long it would take."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from tiny_runs import tiny_config

import asvp.driver.check
from asvp.compute.placement import Placement
from asvp.config import build_config, merge
from asvp.data.examine import _BLOCK_ROWS, _SAMPLE_BLOCKS
from asvp.driver.check import _counted, _estimate, _range_of, check_config
from asvp.driver.preparation import prepare
from asvp.driver.sizing import Speed, measure_speed
from asvp.errors import ClusterError, ConfigError


@pytest.mark.parametrize(
    ("placement", "extraction", "training"),
    [
        # One GPU does the measured rate, however many threads feed it; the cores of CPU actors add up.
        (Placement(1, 4.0, 1.0), 1, 1),
        (Placement(2, 4.0, 1.0), 2, 1),
        (Placement(2, 1.0, 0.0), 2, 2),
        (Placement(1, 2.0, 0.0), 2, 2),
    ],
)
def test_the_rate_of_a_gpu_is_not_multiplied_by_the_threads_that_feed_it(
    tmp_path: Path, placement: Placement, extraction: int, training: int
) -> None:
    prepared = prepare(tiny_config(tmp_path))
    seconds = _estimate(prepared, placement, Speed(32, 10.0, 4.0, prepared.config.encoder))
    assert seconds is not None
    assert seconds["extraction"] == pytest.approx((300 + 60) / (10.0 * extraction))
    assert seconds["final_model"] == pytest.approx(40 * 1 / (4.0 * training))


def test_the_rate_of_training_is_measured_in_steps_and_a_head_alone_takes_no_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A second passes with every look at the clock: one for 128 rows encoded, and one a step.
    monkeypatch.setattr("asvp.driver.sizing.time", SimpleNamespace(perf_counter=count().__next__))
    prepared = prepare(tiny_config(tmp_path, training={"batch_size": 20}))
    speed = measure_speed(prepared)
    assert (speed.rows_per_second, speed.trained_per_second) == (128, 20)
    large = measure_speed(prepare(tiny_config(tmp_path, training={"batch_size": 500})))
    assert large.trained_per_second == 128 // 3
    monkeypatch.setattr("asvp.driver.sizing._TRAINED", 0)
    assert measure_speed(prepared).trained_per_second == 128 / 3
    assert measure_speed(prepared, training=False).trained_per_second is None
    head = prepare(tiny_config(tmp_path, training={"method": "lp"}))
    seconds = _estimate(head, Placement(1, 1.0, 0.0), speed)
    assert seconds is not None
    assert seconds["final_model"] == 40 / 128


def test_more_devices_than_this_machine_has_workers_are_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asvp.driver.check.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(asvp.driver.check.torch.cuda, "device_count", lambda: 0)
    with pytest.raises(
        ClusterError, match=r"^training\.devices: .* has 2 \(1 CPU each; nodes: 1 of 2 CPUs\) \(got 3\)"
    ):
        check_config(tiny_config(tmp_path, training={"devices": 3}))
    assert check_config(tiny_config(tmp_path, training={"devices": 2})).errors == []
    monkeypatch.setattr(asvp.driver.check.torch.cuda, "device_count", lambda: 2)
    shared = tiny_config(tmp_path, training={"devices": 2}, workers={"per_gpu": 2})
    with pytest.raises(ConfigError, match=r"^training\.devices: each of them needs a GPU of its own"):
        check_config(shared)


def test_numbers_of_classes_and_shards_are_told_in_words() -> None:
    assert _range_of({"a": 5, "b": 2_000, "c": 7}) == "3, from b (2,000 rows) to a (5)"
    assert _range_of({"a": 32, "b": 32}) == "2, of 32 rows each"
    assert [_counted(number, "shard") for number in (1, 2, 1_000)] == ["1 shard", "2 shards", "1,000 shards"]


@pytest.mark.parametrize("kind", ["text", "features"])
def test_it_is_told_that_a_sample_was_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setitem(_BLOCK_ROWS, kind, 50)
    monkeypatch.setitem(_SAMPLE_BLOCKS, kind, 2)
    config = tiny_config(tmp_path)
    if kind == "features":
        for name, rows in (("pool", 300), ("test", 60)):
            features = np.random.default_rng(0).normal(size=(rows, 8)).astype(np.float32)
            np.savez(tmp_path / f"{name}.npz", features=features, label=np.arange(rows) % 3)
        paths = {name: str(tmp_path / f"{name}.npz") for name in ("pool", "test")}
        settings = {"data": {**paths, "features": "features"}, "mode": "svp", "training": {"method": "lp"}}
        config = build_config(merge(settings, {"budget": "20+10x2"}))
    told = check_config(config).lines["rows"]
    numbers = ", and the numbers of all rows" if kind == "features" else ""
    assert told == f"300 pool, 60 test; 160 were looked at, a sample (--all-rows looks at all){numbers}"
    assert check_config(config, all_rows=True).lines["rows"] == "300 pool, 60 test"
