"""Random picks are known by what runs do, whatever their arm is called, and everywhere the same."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest

from asvp.config import build_config
from asvp.report import compare_records, draw_figures
from asvp.report.baseline import baseline_of, picks_at_random
from asvp.report.comparison import page_of
from asvp.report.curves import by_arm
from asvp.report.page.beside import Beside
from asvp.report.savings import savings

AT_RANDOM = {"mode": "svp", "selection": {"strategy": "random"}}
BY_MARGIN = {"mode": "svp", "selection": {"strategy": "margin"}}


def wrapped(*names):
    return {"mode": "svp", "selection": {"strategy": "random", "wrap": [{name: {}} for name in names]}}


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        (AT_RANDOM, True),
        (BY_MARGIN, False),
        (wrapped("subsample", "partition"), True),
        (wrapped("subsample", "class_balance"), False),
        (wrapped("neighbours"), False),
        ({"mode": "asvp", "selection": {"strategy": "random"}, "refresh": {"policy": "never"}}, True),
        ({"mode": "asvp", "selection": {"strategy": "random"}, "refresh": {"policy": "logme_ped"}}, False),
        ({"mode": "standard", "selection": {"strategy": "random"}}, False),
    ],
)  # fmt: skip
def test_random_picks_are_the_strategy_without_refreshes_and_with_wrappers_that_change_nothing(settings, found):
    assert picks_at_random(build_config(settings).model_dump(mode="json")) is found


@pytest.mark.parametrize("config", [{}, {"mode": "svp", "selection": {"strategy": "random", "wrap": 3}}])
def test_what_cannot_be_read_is_no_random_pick(config):
    assert not picks_at_random(config)


@pytest.fixture
def swapped(make_run):
    """The arm called random picks by margin."""
    made = []
    for seed in (0, 1):
        made.append(make_run("random", seed, [0.4, 0.8], config=BY_MARGIN, picks={"a": 1, "b": 1}))
        made.append(make_run("rnd", seed, [0.4, 0.6], config=AT_RANDOM, picks={"a": 3, "b": 1}))
    return made


def test_an_arm_called_random_that_picks_otherwise_is_held_against_the_one_that_does(swapped):
    assert baseline_of(swapped) == "rnd"
    assert list(by_arm(swapped)) == ["rnd", "random"]
    against, margin = savings(swapped, [0.5])
    # 0.5 is reached halfway by random picks, with 150 labels, and at a quarter of the way by margin, with 125.
    assert margin.ratio == pytest.approx({0: 1 - 125 / 150, 1: 1 - 125 / 150})
    assert against.ratio == {0: 0, 1: 0}


def test_the_report_and_its_page_tell_which_arm_labels_saved_are_against(swapped):
    comparison = compare_records(swapped, targets=[0.5])
    said = "Labels saved are told against rnd, the arm with random picks."
    assert said in comparison.notes
    assert f"- {said}" in comparison.markdown()
    page = page_of(swapped, Beside()).decode()
    data = json.loads(re.search(r'id="data">(.*?)</script>', page, re.DOTALL).group(1))
    assert (data["baseline"], data["arms"]) == ("rnd", ["rnd", "random"])
    assert said in data["answer"]["notes"]
    assert all(one["ratio"]["0"] > 0 for one in data["savings"] if one["arm"] == "random")


def test_figures_draw_random_picks_in_grey_whatever_they_are_called(swapped, tmp_path):
    renamed = {"random": "margin", "rnd": "random"}
    right = [replace(run, arm=renamed[run.arm]) for run in swapped]
    for name, runs in (("swapped", swapped), ("right", right)):
        draw_figures(runs, tmp_path / name)
    one, other = (
        matplotlib.image.imread(tmp_path / name / "learning_curves.png")[:, :800] for name in ("swapped", "right")
    )
    assert np.array_equal(one, other)


def test_of_several_arms_with_random_picks_the_one_called_random_is_the_baseline_or_the_first(make_run):
    runs = [make_run(arm, 0, [0.4, 0.6], config=AT_RANDOM) for arm in ("one", "two", "random")]
    assert baseline_of(runs) == "random"
    assert baseline_of(runs[:2]) == "one"
    (told,) = [note for note in compare_records(runs[:2]).notes if "against" in note]
    assert told == "Labels saved are told against one, one of 2 arms with random picks."


def test_an_arm_some_of_whose_runs_pick_otherwise_is_no_baseline(make_run):
    runs = [make_run("rnd", 0, [0.4, 0.6], config=AT_RANDOM), make_run("rnd", 1, [0.4, 0.6], config=BY_MARGIN)]
    assert baseline_of(runs) is None


def test_random_picks_that_are_not_finished_are_not_replaced_by_others(make_run):
    runs = [
        make_run("one", 0, [0.4], config=AT_RANDOM, finished=False),
        make_run("two", 0, [0.4, 0.6], config=AT_RANDOM),
        make_run("svp", 0, [0.4, 0.8]),
    ]
    assert all(row["saved"] is None for row in compare_records(runs, targets=[0.5]).savings.numbers)
