"""How many threads extract a shard: measured where it pays, remembered, and without a trace in the features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from ray_pools import whole
from tiny_runs import wide_config

import asvp.actors.team
from asvp.actors.backend import PoolBackend
from asvp.actors.broker import Grant
from asvp.actors.pool import worker_pool
from asvp.actors.team import TeamMeasurement
from asvp.compute import Extraction
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec, ExtractionOrder, ShardJob
from asvp.compute.measured_placement import memory, recall
from asvp.compute.placement import Placement
from asvp.config import Config
from asvp.data import Dataset, open_dataset
from asvp.data.source import View
from asvp.features.cache import Cache
from asvp.progress import SilentReporter

FOUR, ONE = Placement(4, 1.0, 0.0), Placement(1, 4.0, 0.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return wide_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return open_dataset(config.data)


@pytest.fixture(scope="module")
def expected(config: Config, dataset: Dataset) -> np.ndarray:
    """Features made without Ray."""
    return whole(InProcessBackend(spec(config), None, SilentReporter()).extract(pool(config, dataset)))


def spec(config: Config) -> EncoderSpec:
    return EncoderSpec(config.encoder, "text")


def pool(config: Config, dataset: Dataset) -> Extraction:
    return Extraction(dataset.pool, "encoder", 0, config.extraction, title="pool")


class Listening(SilentReporter):
    """Keeps what is said, but for what is awaited: that depends on how busy the machine is."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str, **ids: Any) -> None:
        if "aiting for" not in text:
            self.said.append(text)


def everything_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asvp.actors.team, "fewest_rows", lambda teams: 0)


def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*arguments: Any) -> None:
        raise AssertionError("measured")

    monkeypatch.setattr(TeamMeasurement, "_measure", measured)


def test_teams_are_measured_said_and_remembered_and_the_features_are_the_same(
    ray_local: Any,
    config: Config,
    dataset: Dataset,
    expected: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything_pays(monkeypatch)
    cache, first, second = Cache(str(tmp_path)), Listening(), Listening()
    with worker_pool(FOUR, (ONE,)) as workers:
        assert_array_equal(
            whole(PoolBackend(workers, spec(config), cache, first).extract(pool(config, dataset))), expected
        )
        measured = recall(memory(cache, config.encoder, "text", [4]), (FOUR, ONE))
        assert measured is not None
        assert all(rate > 0 for _, rate in measured.rates)
        assert first.said == [
            "Measuring who extracts fastest: 4 workers of 1 CPU, 1 worker of 4 CPUs",
            f"Extraction by {measured.fastest} (measured: {measured})",
        ]
        nothing_is_measured(monkeypatch)
        cache.entry("features", pool(config, dataset).fingerprint).remove()
        again = PoolBackend(workers, spec(config), cache, second).extract(pool(config, dataset))
        assert_array_equal(whole(again), expected)
        assert second.said == [f"Extraction by {measured.fastest} (measured before: {measured})"]


def test_shards_are_extracted_with_the_threads_of_the_faster_team_and_the_features_are_the_same(
    ray_local: Any, config: Config, dataset: Dataset, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_pays(monkeypatch)
    real = asvp.actors.team._rate

    def favouring_one(
        grants: Sequence[Grant], order: ExtractionOrder, pieces: Sequence[ShardJob], threads: float
    ) -> float:
        assert real(grants, order, pieces, threads) > 0
        return 100.0 / len(grants)

    monkeypatch.setattr(asvp.actors.team, "_rate", favouring_one)
    with worker_pool(FOUR, (ONE,)) as workers:
        features = PoolBackend(workers, spec(config), None, SilentReporter()).extract(pool(config, dataset))
    assert_array_equal(whole(features), expected)
    assert features.spent.cpu_seconds == pytest.approx(4 * features.spent.seconds)


def test_small_extractions_and_pools_without_another_team_are_not_measured(
    ray_local: Any, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_is_measured(monkeypatch)
    reporter = Listening()
    few = Extraction(View(dataset.pool, np.arange(100)), "encoder", 0, config.extraction, title="pool")
    with worker_pool(FOUR, (ONE,)) as workers:
        features = PoolBackend(workers, spec(config), None, reporter).extract(few)
    assert features.spent.cpu_seconds == pytest.approx(features.spent.seconds)
    everything_pays(monkeypatch)
    with worker_pool(Placement(2, 1.0, 0.0)) as workers:
        PoolBackend(workers, spec(config), None, reporter).extract(few)
    assert reporter.said == []
