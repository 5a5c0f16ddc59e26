"""The plan of `asvp check`: what a run would use, and how long it would take."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_runs import tiny_config

import asvp.driver.check
from asvp.compute.placement import Placement
from asvp.driver.check import _estimate, check_config
from asvp.driver.preparation import prepare
from asvp.driver.sizing import Speed
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
    seconds = _estimate(prepared, placement, Speed(32, 10.0, "float32"))
    assert seconds is not None
    assert seconds["extraction"] == pytest.approx((300 + 60) / (10.0 * extraction))
    passes = 40 * 1 * asvp.driver.check._STEP_IN_FORWARD_PASSES
    assert seconds["final_model"] == pytest.approx(passes / (10.0 * training))


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
