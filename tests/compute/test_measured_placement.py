"""Which team extracts: compared by measurement where it pays, and remembered."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from tiny_runs import wide_config

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
from asvp.compute.placement import Placement
from asvp.config import EncoderConfig, WorkersConfig
from asvp.driver.check import check_config
from asvp.features.cache import Cache

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
