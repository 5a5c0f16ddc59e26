"""Trials stopped early: which, what is kept of them, and how they go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from recording import Told
from tiny_runs import picks, tiny_config

from asvp.config import Config, build_config
from asvp.driver.loop import run
from asvp.errors import ConfigError
from asvp.report.comparison import compare
from asvp.report.status_files import read_status
from asvp.tune_spaces import Scheduler, Space
from asvp.tune_spaces.space import Trial, trials
from asvp.tune_spaces.stopping import EarlyStopping, scheduler_cautions
from asvp.tune_spaces.sweep import run_sweep


def named(*arms: str, seeds: tuple[int, ...] = (0,), budget: str = "10+10x7") -> list[Trial]:
    def config(arm: str, seed: int) -> Config:
        selection = {"strategy": "random" if arm == "random" else "margin"}
        return build_config({"mode": "svp", "budget": budget, "seed": seed, "selection": selection})

    return [Trial(arm, seed, config(arm, seed)) for seed in seeds for arm in arms]


def a_round(labelled: int, proxy: float | None, **more: Any) -> dict[str, Any]:
    return {"labelled": labelled, "proxy_accuracy": proxy, **more}


def test_of_each_seed_the_better_half_goes_on_from_each_rung() -> None:
    # Rungs at 20, 40 and 80 labels; a trial is held against those that were there before it, and itself.
    stopping = EarlyStopping(Scheduler("asha"), named("a", "b", "c", "d", seeds=(0, 1)))
    assert not any(stopping.heard(f"{arm}-seed0", a_round(10, 0.1 * place)) for place, arm in enumerate("dcba"))
    assert not stopping.heard("b-seed0", a_round(20, 0.5))
    assert not stopping.heard("a-seed0", a_round(20, 0.6))
    assert stopping.heard("c-seed0", a_round(20, 0.4))
    assert not stopping.heard("d-seed0", a_round(20, 0.55)), "the median of 0.5, 0.6, 0.4 and 0.55 is 0.525"
    # Between rungs nobody is stopped, and a round that is told of twice, or late, is none.
    assert not stopping.heard("a-seed0", a_round(30, 0.1))
    assert not stopping.heard("a-seed0", a_round(20, 0.0, final_accuracy=0.9))
    assert not stopping.heard("a-seed0", a_round(40, 0.5))
    assert stopping.heard("d-seed0", a_round(40, 0.4))
    # Another seed is a race of its own.
    assert not stopping.heard("c-seed1", a_round(20, 0.1))


def test_the_arm_of_random_picks_goes_on_and_so_does_one_without_a_proxy_and_one_at_its_end() -> None:
    stopping = EarlyStopping(Scheduler("asha"), named("a", "random", "standard"))
    assert not stopping.heard("a-seed0", a_round(20, 0.5))
    assert not stopping.heard("random-seed0", a_round(20, 0.1))
    assert not stopping.heard("standard-seed0", a_round(20, None))
    short = EarlyStopping(Scheduler("asha", grace=80), named("a", "b"))
    assert not short.heard("a-seed0", a_round(80, 0.5))
    assert not short.heard("b-seed0", a_round(80, 0.1)), "there is nothing left to stop"


def test_random_picks_go_on_whatever_they_are_called_and_a_name_alone_keeps_nobody() -> None:
    picks, named_so = named("random", "a")
    trials = [Trial("rnd", 0, picks.config), Trial("random", 0, named_so.config), Trial("best", 0, named_so.config)]
    stopping = EarlyStopping(Scheduler("asha"), trials)
    assert not stopping.heard("best-seed0", a_round(20, 0.5))
    assert not stopping.heard("rnd-seed0", a_round(20, 0.1))
    assert stopping.heard("random-seed0", a_round(20, 0.2))


def test_median_stops_who_was_never_as_good_as_the_others_are_on_average() -> None:
    stopping = EarlyStopping(Scheduler("median"), named("a", "b", "c", "d", "e"))
    for arm, values in {"a": (0.5, 0.7), "b": (0.6, 0.7), "c": (0.4, 0.6)}.items():
        assert not any(stopping.heard(f"{arm}-seed0", a_round(20 + 10 * i, v)) for i, v in enumerate(values))
    # Means up to 20 labels: 0.5, 0.6, 0.4.
    assert not stopping.heard("d-seed0", a_round(20, 0.5))
    assert stopping.heard("e-seed0", a_round(20, 0.44)), "the median of 0.5, 0.6, 0.4 and 0.5 is 0.5"


def test_rounds_of_before_count() -> None:
    stopping = EarlyStopping(Scheduler("asha"), named("a", "b"))
    stopping.replay("a-seed0", [a_round(10, 0.5), a_round(20, 0.6), a_round(30, 0.7)])
    assert stopping.heard("b-seed0", a_round(20, 0.5))


def test_what_a_stopped_trial_would_have_cost() -> None:
    stopping = EarlyStopping(Scheduler("asha"), named("a"))
    rounds = [a_round(10, 0.3, cost={"compute": 0.5}), a_round(20, 0.4125, cost={"compute": 0.25})]
    stop = stopping.told("a-seed0", rounds)
    price = build_config({"mode": "svp"}).cost.per_label
    assert stop.dollars_left == pytest.approx(60 * price + 6 * 0.375)
    assert stop.message.startswith("stopped early by asha, as its proxy reached 0.412 with 20 labels; 60 more would")


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"name": "ahsa"}, "scheduler: is unknown (got 'ahsa'). Did you mean asha?"),
        ({"name": "asha", "grace": 0}, "scheduler.grace"),
        ({"name": "asha", "grace": 2.5}, "scheduler.grace"),
        ({"name": "asha", "reduction": 1}, "scheduler.reduction"),
    ],
)
def test_settings_that_cannot_be_are_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError) as error:
        Scheduler(**given)
    assert told in str(error.value)


def test_arms_that_are_not_alike_are_told_of() -> None:
    alike = named("a", "b")
    assert list(scheduler_cautions(Scheduler("asha"), alike)) == []
    other = Trial("asvp", 0, build_config({"mode": "asvp", "budget": "10+10x7"}))
    without = Trial("standard", 0, build_config({"mode": "standard", "budget": "10+10x7"}))
    never, unlike = scheduler_cautions(Scheduler("asha"), [*alike, other, without])
    assert "standard has no proxy to compare" in never
    assert "arms are compared that differ in mode" in unlike
    assert list(scheduler_cautions(Scheduler(), [*alike, other])) == []


ARMS: Mapping[str, Mapping[str, Any]] = {
    name: {"selection": {"strategy": name}} for name in ("random", "margin", "entropy", "coreset", "typiclust")
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    return tiny_config(
        folder,
        budget="10+10x4",
        extraction={"cache": str(folder / "cache")},
        training={"method": "lp", "epochs": 1, "evaluate_at": [20, 50]},
    )


def test_a_stopped_trial_keeps_its_rounds_stays_stopped_and_goes_on_when_asked(
    ray_local: Any, base: Config, tmp_path: Path
) -> None:
    chosen = list(trials(Space(ARMS, (0, 1)), base.model_dump()))
    names = [trial.name for trial in chosen]

    def sweep(out: Path, **given: Any) -> tuple[Any, list[str]]:
        told = Told()
        settings = {"resume": False, "address": None, "max_concurrent": 1, **given}
        return run_sweep(chosen, out, reporter=told, **settings), told.lines

    def rounds(out: Path, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (out / "runs" / name / "rounds.jsonl").read_text().splitlines()]

    whole, part = tmp_path / "whole", tmp_path / "part"
    for trial in chosen:
        run(trial.config, out=whole / "runs" / trial.name, in_process=True)
    # One trial after the other: who is stopped where follows from the proxies of the whole sweep.
    rule, expected = EarlyStopping(Scheduler("asha"), chosen), {}
    for name in names:
        expected[name] = next((one["round"] for one in rounds(whole, name) if rule.heard(name, one)), 4)
    stopped = {name for name in names if expected[name] < 4}
    assert 0 < len(stopped) < len(names) - 2

    first, said = sweep(part, scheduler=Scheduler("asha"))
    assert {name: len(rounds(part, name)) - 1 for name in names} == expected
    for name in names:
        bought = picks(part / "runs" / name)
        assert bought == picks(whole / "runs" / name)[: len(bought)]
        # What was asked for before the stop has come.
        assert [one["labelled"] for one in rounds(part, name) if one["final_accuracy"] is not None] == (
            [20] if name in stopped and expected[name] else [20, 50]
        )
    assert (first.failed, first.unfinished) == ({}, ())
    assert {one.trial for one in first.trials if one.state == "stopped"} == stopped
    assert any("stopped early by asha, as its proxy reached" in line for line in said)
    table = pq.read_table(part / "results.parquet").to_pandas()
    assert set(table[table["stopped"]]["trial"]) == stopped
    assert set(table[table["finished"]]["trial"]) == set(names) - stopped
    comparison = compare([part])
    assert not comparison.verdict.provisional
    assert "topped early" in comparison.verdict.text
    assert any(note.startswith(f"{len(stopped)} of {len(names)} runs were stopped early") for note in comparison.notes)
    # From the table alone the same is known.
    assert sum(record.stopped for record in comparison.records) == len(stopped)

    _, said = sweep(part, resume=True)
    assert said[2] == (
        f"Going on with the sweep: {len(names) - len(stopped)} done, {len(stopped)} stopped early "
        "(--scheduler none goes on with them)"
    )
    assert {name: len(rounds(part, name)) - 1 for name in names} == expected

    _, said = sweep(part, resume=True, scheduler=Scheduler())
    assert said[2] == f"Going on with the sweep: {len(names) - len(stopped)} done, {len(stopped)} go on"
    assert {one.state for one in read_status(part).trials} == {"finished"}
    for name in names:
        assert picks(part / "runs" / name) == picks(whole / "runs" / name)
