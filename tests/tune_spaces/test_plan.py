"""What is told before a sweep starts: jobs after sharing, what they take, what costs money for nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_config

from asvp.compute.placement import Placement
from asvp.config import Config
from asvp.spent import Spent
from asvp.tune_spaces.arms import refreshes
from asvp.tune_spaces.earlier import loop_key
from asvp.tune_spaces.plan import Between, Jobs, SweepPlan, plan_sweep
from asvp.tune_spaces.rates import Rates
from asvp.tune_spaces.room import Sizes
from asvp.tune_spaces.space import Space, trials
from asvp.tune_spaces.sweep import check_sweep
from asvp.tune_spaces.telling import estimate_in_words, rows, tell_start
from asvp.tune_spaces.work import each_encoder

ONE_CORE = Placement(2, 1.0, 0.0)
RANDOM = {"mode": "svp", "selection": {"strategy": "random"}}
# 300 pool rows and 60 test rows; 20, 30, 40 and 50 labels.
ROUNDS = {"budget": "20+10x3", "training": {"method": "auto"}}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiny")


def plan(
    folder: Path,
    arms: dict[str, Any],
    *,
    seeds: tuple[int, ...] = (0,),
    rates: Rates | None = None,
    placement: Placement = ONE_CORE,
    **settings: Any,
) -> SweepPlan:
    base: Config = tiny_config(folder, **{**ROUNDS, **settings})
    chosen = list(trials(Space(arms, seeds), base.model_dump()))
    prepared = check_sweep(chosen, folder / "sweep", resume=False)
    shared = each_encoder(prepared.values())
    known = dict.fromkeys(shared, rates or Rates())
    return plan_sweep(chosen, prepared, placement, known, dict.fromkeys(shared, Sizes(8, 1000)))


def exactly(asked: int, distinct: int, cached: int = 0) -> Jobs:
    return Jobs(Between(asked, asked), Between(distinct, distinct), cached)


def test_version_0_is_extracted_once_for_all_trials(folder: Path) -> None:
    found = plan(folder, {"random": RANDOM, "svp": {}}, seeds=(0, 1, 2))
    assert (found.trials, list(found.arms), found.seeds) == (6, ["random", "svp"], (0, 1, 2))
    assert found.pool_extractions == exactly(6, 1)
    # Each final model encodes the test rows anew.
    assert found.test_extractions == exactly(12, 7)
    assert found.trainings == exactly(6, 6)


def test_refreshes_at_equal_labels_are_one_job(folder: Path) -> None:
    arms = refreshes(every=[1, 2], at=[30])
    # Rounds 0, 1, 2 and the final model; round 1 and the final model, twice, which are one arm.
    assert plan(folder, arms).trainings == exactly(4 + 2, 6)
    # The first round's rows are the same in every arm, and with one method so is the model of the first refresh.
    standard = plan(folder, refreshes(every=[1], standard=True))
    assert standard.trainings == exactly(4 + 4, 1 + 3 + 3)
    assert standard.pool_extractions == exactly(4 + 4, 1 + 1 + 2 + 2)


def test_an_indicator_that_may_or_may_not_refresh_gives_bounds(folder: Path) -> None:
    # It is asked in round 0 alone: later the labels have not tripled, and fewer are left than were bought.
    found = plan(folder, refreshes(never=True, logme_ped=[None]))
    assert found.trainings == Jobs(asked=Between(2, 3), distinct=Between(1, 3))
    assert found.pool_extractions == Jobs(asked=Between(2, 3), distinct=Between(1, 2))


def test_a_verified_refresh_may_be_put_aside(folder: Path) -> None:
    held = {"mode": "asvp", "refresh": {"policy": "at", "at": [20], "holdout": 0.2}}
    assert plan(folder, {"svp": {}, "held": held}).trainings == Jobs(asked=Between(2, 3), distinct=Between(1, 3))


def test_final_models_at_several_counts_are_counted(folder: Path) -> None:
    at = {"method": "auto", "evaluate_at": [20, 40]}
    found = plan(folder, {"random": RANDOM, "svp": {}}, training=at)
    # After the first round, whose rows nobody chose yet, both arms train the same model.
    assert found.trainings == exactly(6, 5)
    every = plan(folder, {"svp": {}}, training={"method": "lp", "evaluate_at": "every"})
    assert every.trainings == exactly(4, 4)
    # A linear probe leaves the encoder as it is.
    assert every.test_extractions == exactly(1, 1)


def test_arms_that_differ_in_the_encoder_share_nothing(folder: Path) -> None:
    found = plan(folder, {"short": {"encoder": {"max_length": 8}}, "long": {}})
    assert found.pool_extractions == exactly(2, 2)


def test_the_estimate_is_rows_times_rates(folder: Path) -> None:
    rates = Rates(Spent(0.1, 0.2, 0.0), {"lp_ft": Spent(1.0, 2.0, 0.0)})
    cost = {"cpu_hour": 9.0, "per_label": 0.5}
    found = plan(folder, {"svp": {}}, seeds=(0, 1), rates=rates, placement=Placement(2, 2.0, 0.0), cost=cost)
    # Pool and test once, the test rows for both final models; 50 labels in one epoch each.
    core_seconds = 0.2 * (300 + 60 + 2 * 60) + 2.0 * 2 * 50
    assert found.estimate is not None
    assert found.estimate.cpu_hours.low == pytest.approx(core_seconds / 3600)
    assert found.estimate.cpu_hours.high == found.estimate.cpu_hours.low
    assert found.estimate.gpu_hours == Between(0.0, 0.0)
    assert found.estimate.dollars.high == pytest.approx(9.0 * core_seconds / 3600)
    assert found.estimate.wall_seconds.low == pytest.approx(core_seconds / 4)
    assert (found.labels, found.label_dollars) == (100, 50.0)
    assert found.unknown == ("picks (2 trials)",)
    cached = plan(
        folder, {"svp": {}}, rates=replace(rates, cached=frozenset({"pool"})), placement=Placement(1, 1.0, 0.0)
    )
    assert cached.pool_extractions == exactly(1, 1, cached=1)
    assert cached.estimate is not None
    assert cached.estimate.wall_seconds.low == pytest.approx(0.2 * (60 + 60) + 2.0 * 50)


def test_on_gpus_their_hours_decide(folder: Path) -> None:
    rates = Rates(Spent(1.0, 4.0, 0.5), {"lp_ft": Spent(1.0, 4.0, 0.5)})
    found = plan(
        folder, {"svp": {}}, rates=rates, placement=Placement(4, 4.0, 0.5), cost={"gpu_hour": 3600, "cpu_hour": 0}
    )
    assert found.estimate is not None
    gpu_seconds = 0.5 * (300 + 60 + 60 + 50)
    assert found.estimate.wall_seconds.low == pytest.approx(gpu_seconds / 2)
    assert found.estimate.dollars.low == pytest.approx(gpu_seconds)


def test_rounds_like_those_of_earlier_runs_are_counted(folder: Path) -> None:
    base = tiny_config(folder, **ROUNDS)
    chosen = list(trials(Space({"random": RANDOM, "svp": {}}, (0, 1)), base.model_dump()))
    prepared = check_sweep(chosen, folder / "sweep", resume=False)
    rates = dict.fromkeys(each_encoder(prepared.values()), Rates(Spent(0.0, 0.0), {"lp_ft": Spent(0.0, 0.0)}))
    loops = {loop_key(prepared["svp-seed0"].config.model_dump(mode="json")): 5.0}
    found = plan_sweep(chosen, prepared, Placement(2, 3.0, 0.0), rates, loops=loops)
    assert found.unknown == ("picks (2 trials)",)
    assert found.estimate is not None
    # Two trials of svp, four rounds each, three cores a worker.
    assert found.estimate.cpu_hours.low == found.estimate.cpu_hours.high == pytest.approx(2 * 4 * 5.0 * 3 / 3600)


def test_no_rate_is_made_up(folder: Path) -> None:
    nothing = plan(folder, {"svp": {}, **refreshes(every=[1])})
    assert nothing.estimate is None
    assert nothing.unknown == ("extraction", "training (ft)", "training (lp_ft)", "picks (2 trials)")
    assert estimate_in_words(nothing) == (
        "How long that takes is not known: no rate of extraction, training (ft), training (lp_ft) and picks (2 trials) "
        "is remembered here"
    )
    half = plan(folder, {"svp": {}}, rates=Rates(Spent(1.0, 1.0), measured=True))
    assert half.unknown == ("training (lp_ft)", "picks (1 trial)")
    assert estimate_in_words(half) == (
        "About 0.12 core-hours, $0.0047, 4 min or more (extraction measured on a small sample, all else as remembered "
        "here, without training (lp_ft) and picks (1 trial), of which no rate is remembered here; evaluations and idle "
        "workers come on top)"
    )


def test_bytes_are_those_of_features_and_models(folder: Path) -> None:
    found = plan(folder, refreshes(never=True, every=[2]), extraction={"cache": str(folder / "cache")})
    assert found.room is not None
    a_row = 8 * 4 + 8
    # Version 0, one refreshed version and two final models' test rows; weights of a refresh and two final models.
    assert found.room.cache == a_row * (2 * 360 + 2 * 60) + 3 * 1000
    # Two final models, and the refreshed one in a checkpoint.
    assert found.room.runs == 3 * 1000
    # Version 0 is shared, and one trial holds a version of its own.
    assert found.room.store == a_row * 2 * 360
    assert plan(folder, {"svp": {}}).room.cache == 0
    told = rows(found, cache="somewhere", disk=5_000_000, out="out", out_disk=None)
    assert told["trials"] == "2 trials: 2 arms x 1 seed"
    assert told["trainings"] == "3"
    assert told["cache"] == "somewhere: at most 37 KB more, 5.0 MB free"
    assert told["directory"] == "out: at most 3.0 KB for models"


def test_at_most_so_many_versions_are_held_as_trials_are_at_work(folder: Path) -> None:
    found = plan(folder, refreshes(every=[1]), seeds=tuple(range(9)))
    assert found.room is not None
    assert found.room.store == (8 * 4 + 8) * 360 * (1 + 6)


@pytest.mark.parametrize(
    ("arms", "settings", "told"),
    [
        (
            {"late": {"mode": "asvp", "refresh": {"policy": "every", "every": 4}}},
            {},
            "Arm late: no refresh can come before the last round",
        ),
        (refreshes(logme=[0.1], logme_ped=[0.1]), {"budget": "20+10"}, "Arm asvp_logme_0.1: no refresh can come"),
        ({"all": {"budget": "100x3"}}, {}, "Arm all: the budget is the whole pool"),
        ({"svp": {}}, {}, "extraction.cache is null"),
    ],
)
def test_what_comes_to_nothing_or_is_paid_twice_is_told(
    folder: Path, arms: dict[str, Any], settings: dict[str, Any], told: str
) -> None:
    warnings = plan(folder, arms, **settings).warnings
    assert any(warning.startswith(told) for warning in warnings), warnings


def test_gpus_that_only_fit_proxies_are_told(folder: Path) -> None:
    gpus, ready = Placement(2, 4.0, 1.0), Rates(cached=frozenset({"pool", "test"}))
    probe = {"method": "lp"}
    wasted = plan(folder, {"svp": {}}, rates=ready, placement=gpus, training=probe).warnings
    assert any(warning.startswith("The workers hold 2 GPUs, and no arm extracts or fine-tunes") for warning in wasted)
    for used in (
        plan(folder, {"svp": {}}, rates=ready, placement=gpus),
        plan(folder, {"svp": {}}, placement=gpus, training=probe),
        plan(folder, {"svp": {}}, rates=ready, training=probe),
    ):
        assert not any("GPUs" in warning for warning in used.warnings)


def test_a_start_is_told_in_two_lines_and_a_line_for_each_warning(folder: Path, tmp_path: Path) -> None:
    base = tiny_config(folder, **ROUNDS)
    chosen = list(trials(Space({"svp": {}}, (0,)), base.model_dump()))
    said: list[str] = []
    tell_start(chosen, check_sweep(chosen, tmp_path / "sweep", resume=False), ONE_CORE, tmp_path / "sweep", said.append)
    assert said[0] == (
        "1 trial: 1 arm x 1 seed; 1 extraction of the pool and 1 training after sharing, on 2 workers of 1 CPU"
    )
    assert said[1] == (
        "How long that takes is not known: no rate of extraction, training (lp_ft) and picks (1 trial) is "
        "remembered here"
    )
    assert [line[:35] for line in said[2:]] == ["Warning: extraction.cache is null: "]
