"""Which team extracts: compared by measurement where it pays, remembered, and without a trace in the features."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from tiny_runs import wide_config

import asvp.actors.backend
from asvp.actors.backend import RayBackend, backend_here
from asvp.actors.extraction import Member
from asvp.compute import Extraction
from asvp.compute.in_process import InProcessBackend
from asvp.compute.measured_placement import (
    Measurement,
    alternatives,
    compare,
    fewest_rows,
    memory,
    recall,
    remember,
    sample,
    stand_ins,
)
from asvp.compute.placement import Placement, place
from asvp.config import Config, EncoderConfig, WorkersConfig
from asvp.data import Dataset, open_dataset
from asvp.data.source import View
from asvp.driver.check import check_config
from asvp.features import FeatureSet
from asvp.features.cache import Cache
from asvp.progress import Reporter, SilentReporter

FOUR, TWO, ONE = Placement(4, 1.0, 0.0), Placement(2, 2.0, 0.0), Placement(1, 4.0, 0.0)


def test_the_rule_is_compared_with_pairs_of_threads_and_with_all_threads_of_a_node() -> None:
    assert alternatives(WorkersConfig(), FOUR, [4]) == (TWO, ONE)
    assert alternatives(WorkersConfig(), Placement(2, 1.0, 0.0), [2]) == (Placement(1, 2.0, 0.0),)
    assert alternatives(WorkersConfig(), Placement(12, 1.0, 0.0), [8, 4]) == (
        Placement(6, 2.0, 0.0),
        Placement(3, 4.0, 0.0),
    )


def test_nothing_is_compared_on_one_core_with_gpus_or_where_the_configuration_decides() -> None:
    assert alternatives(WorkersConfig(), Placement(1, 1.0, 0.0), [1]) == ()
    assert alternatives(WorkersConfig(), Placement(2, 4.0, 1.0), [8]) == ()
    assert alternatives(WorkersConfig(count=4), FOUR, [4]) == ()
    assert alternatives(WorkersConfig(cpus=1), FOUR, [4]) == ()


def test_the_sample_of_all_teams_is_a_small_share_of_the_fewest_rows_that_are_worth_it() -> None:
    passes = Counter[Placement]()

    def rate(team: Placement) -> float:
        passes[team] += 1
        return 100.0

    teams = (FOUR, TWO, ONE)
    compare(teams, rate)
    rows = sum(task.stop - task.start for task in sample(10**6, "float32"))
    # In the time of the rule's team, of which each worker is the slowest of all.
    assert sum(passes.values()) * rows * FOUR.workers <= 0.03 * fewest_rows(teams)


def test_the_sample_lies_inside_the_source() -> None:
    for rows in (1, 100, 1000, 10**6):
        pieces = sample(rows, "float16")
        assert all(0 <= piece.start < piece.stop <= rows for piece in pieces)
        assert {(piece.dtype, piece.entry) for piece in pieces} == {("float16", None)}


def test_the_rule_stays_unless_another_team_is_faster_by_a_margin() -> None:
    assert Measurement(((FOUR, 100.0), (TWO, 104.0), (ONE, 90.0))).fastest == FOUR
    assert Measurement(((FOUR, 100.0), (TWO, 106.0), (ONE, 107.0))).fastest == ONE


def test_a_team_that_was_slow_for_a_moment_keeps_its_place() -> None:
    asked = Counter[Placement]()

    def rate(team: Placement) -> float:
        asked[team] += 1
        # Something else takes the cores while the rule's team has its first passes.
        return 50.0 if team == FOUR and asked[team] <= 3 else {FOUR: 100.0, TWO: 80.0}[team]

    measured = compare((FOUR, TWO), rate)
    assert measured.fastest == FOUR
    assert dict(measured.rates) == {FOUR: 100.0, TWO: 80.0}


def test_a_team_that_is_faster_again_and_again_is_taken() -> None:
    assert compare((FOUR, TWO), {FOUR: 100.0, TWO: 120.0}.__getitem__).fastest == TWO


def test_stand_ins_are_as_many_on_each_node_as_the_team_would_have_there() -> None:
    homes = ["a", "b", "a", "b", "a", "a"]
    cores = {"a": 4, "b": 2}
    assert stand_ins(Placement(3, 2.0, 0.0), homes, cores) == [0, 1, 2]
    assert stand_ins(Placement(1, 4.0, 0.0), homes, cores) == [0]
    assert stand_ins(Placement(6, 1.0, 0.0), homes, cores) == [0, 1, 2, 3, 4, 5]


def test_a_measurement_is_remembered_for_one_encoder_and_machine(tmp_path: Path) -> None:
    cache, encoder = Cache(str(tmp_path)), EncoderConfig(dtype="float32")
    measured = Measurement(((FOUR, 100.0), (TWO, 120.0)))
    remember(memory(cache, encoder, "text", [4]), measured, encoder)
    assert recall(memory(cache, encoder, "text", [4]), (FOUR, TWO)) == measured
    other = encoder.model_copy(update={"max_length": 128})
    assert recall(memory(cache, other, "text", [4]), (FOUR, TWO)) is None
    assert recall(memory(cache, encoder, "text", [4, 4]), (FOUR, TWO)) is None
    assert recall(memory(cache, encoder, "text", [4]), (FOUR, TWO, ONE)) is None


def test_a_measurement_is_remembered_in_a_cache_behind_a_uri_and_nowhere_without_a_cache() -> None:
    encoder, measured = EncoderConfig(dtype="float32"), Measurement(((FOUR, 100.0), (TWO, 90.0)))
    entry = memory(Cache("memory://measured-placement"), encoder, "text", [4])
    remember(entry, measured, encoder)
    assert recall(entry, (FOUR, TWO)) == measured
    assert memory(None, encoder, "text", [4]) is None
    remember(None, measured, encoder)
    assert recall(None, (FOUR, TWO)) is None


def test_check_says_whether_the_placement_is_the_rule_or_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    config = wide_config(tmp_path, extraction={"cache": str(tmp_path / "cache")})
    plan = check_config(config)
    assert (plan.numbers["placement"], plan.numbers["workers"]) == ("rule", {"count": 4, "cpus": 1, "gpus": 0})
    assert "4 workers of 1 CPU (one a core; " in plan.lines["extraction"]
    remember(
        memory(Cache(str(tmp_path / "cache")), config.encoder, "text", [4]),
        Measurement(((FOUR, 100.0), (TWO, 130.0), (ONE, 90.0))),
        config.encoder,
    )
    plan = check_config(config)
    assert (plan.numbers["placement"], plan.numbers["workers"]) == ("measurement", {"count": 2, "cpus": 2, "gpus": 0})
    assert "2 workers of 2 CPUs 130 rows/s" in plan.lines["extraction"]
    told = check_config(config.model_copy(update={"workers": WorkersConfig(count=3)}))
    assert (told.numbers["placement"], told.numbers["workers"]["count"]) == ("configuration", 3)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return wide_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return open_dataset(config.data)


@pytest.fixture(scope="module")
def expected(config: Config, dataset: Dataset) -> np.ndarray:
    """Features made without Ray."""
    return whole(InProcessBackend(config.encoder, "text", None, SilentReporter()).extract(pool(config, dataset)))


def pool(config: Config, dataset: Dataset) -> Extraction:
    return Extraction(dataset.pool, "encoder", 0, config.extraction, title="pool")


def whole(features: FeatureSet) -> np.ndarray:
    return np.concatenate([block for _, block in features.blocks()])


class Listening(SilentReporter):
    """Keeps what is said, but for what is awaited: that depends on how busy the machine is."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        if not text.startswith("Waiting for"):
            self.said.append(text)


def everything_pays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asvp.actors.backend, "fewest_rows", lambda teams: 0)


def nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def measured(*arguments: Any) -> None:
        raise AssertionError("measured again")

    monkeypatch.setattr(RayBackend, "_measure", measured)


def team(config: Config, cache: Cache | None, reporter: Reporter) -> RayBackend:
    """Two workers, who may become one; either team holds all cores."""
    return RayBackend(config.encoder, "text", TWO, cache, reporter, (ONE,))


def test_a_team_is_measured_said_and_remembered_and_the_features_are_the_same(
    ray_local: Any,
    config: Config,
    dataset: Dataset,
    expected: np.ndarray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    everything_pays(monkeypatch)
    cache, first, second = Cache(str(tmp_path)), Listening(), Listening()
    workers = team(config, cache, first)
    assert_array_equal(whole(workers.extract(pool(config, dataset))), expected)
    measured = recall(memory(cache, config.encoder, "text", [4]), (TWO, ONE))
    assert measured is not None
    assert all(rate > 0 for _, rate in measured.rates)
    assert workers._placement == measured.fastest
    assert first.said == [
        "Measuring who extracts fastest: 2 workers of 2 CPUs, 1 worker of 4 CPUs",
        f"Extraction by {measured.fastest} (measured: {measured})",
    ]
    workers.close()

    nothing_is_measured(monkeypatch)
    cache.entry("features", pool(config, dataset).fingerprint).remove()
    workers = team(config, cache, second)
    assert_array_equal(whole(workers.extract(pool(config, dataset))), expected)
    assert second.said == [f"Extraction by {measured.fastest} (measured before: {measured})"]
    workers.close()


def test_a_faster_team_takes_the_place_of_the_rules_and_the_features_are_the_same(
    ray_local: Any, config: Config, dataset: Dataset, expected: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    everything_pays(monkeypatch)
    real = asvp.actors.backend.team_rate

    def favouring_one(members: list[Member], *others: Any) -> float:
        assert real(members, *others) > 0
        return 100.0 / len(members)

    monkeypatch.setattr(asvp.actors.backend, "team_rate", favouring_one)
    workers = team(config, None, SilentReporter())
    assert_array_equal(whole(workers.extract(pool(config, dataset))), expected)
    assert workers._placement == ONE
    assert len(workers._team) == 1
    workers.close()


def test_small_extractions_ready_made_features_and_trials_keep_their_team(
    ray_local: Any, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    nothing_is_measured(monkeypatch)
    reporter = Listening()
    workers = backend_here(config, "text", None, reporter)
    assert (workers._placement, workers._alternatives) == (FOUR, (TWO, ONE))
    few = Extraction(View(dataset.pool, np.arange(100)), "encoder", 0, config.extraction, title="pool")
    workers.extract(few)
    assert workers._placement == FOUR
    workers.close()
    everything_pays(monkeypatch)
    assert backend_here(config, "features", None, reporter)._alternatives == ()
    one = place(WorkersConfig(count=1), [{"CPU": 4.0}])
    assert RayBackend(config.encoder, "text", one, None, reporter)._alternatives == ()
    assert reporter.said == []
