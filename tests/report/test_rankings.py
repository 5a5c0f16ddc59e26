"""Arms are compared at the same total cost, on lines between final models."""

from __future__ import annotations

import numpy as np
import pytest

from asvp.report.rankings import rankings
from asvp.report.redrawn import redrawn


def test_every_label_count_gives_a_cost_that_all_arms_come_to(make_run):
    runs = [make_run("random", 0, [0.4, 0.6], sampling=0.0), make_run("svp", 0, [0.5, 0.7], sampling=100.0)]
    # Labels are $4 a round; svp pays $1 a round for choosing.
    first, last = rankings(runs)
    assert (first.cost, first.labelled) == (pytest.approx(5.0), 100)
    assert (last.cost, last.labelled) == (pytest.approx(8.0), 200)
    # At $5 random has gone a quarter of the way from $4 to $8; at $8 svp is three fifths between $5 and $10.
    assert first.best == "svp"
    assert first.behind[0].accuracy == pytest.approx(0.45)
    assert last.accuracy.mean == pytest.approx(0.5 + 0.2 * 3 / 5)
    assert last.behind[0].difference.mean == pytest.approx(0.62 - 0.6)


def test_arms_are_paired_by_seed(make_run):
    runs = [
        *(make_run("a", seed, [0.60 + 0.1 * seed]) for seed in (0, 1, 2)),
        *(make_run("b", seed, [0.55 + 0.1 * seed]) for seed in (0, 1, 2)),
        make_run("c", 7, [0.5]),
    ]
    (found,) = rankings(runs)
    b, c = found.behind
    # Seeds differ by far more than arms do, and alike in both.
    assert (b.arm, b.difference.mean, b.told_apart) == ("b", pytest.approx(0.05), True)
    assert (c.arm, c.difference, c.told_apart) == ("c", None, False)
    assert found.equals == ("c",)


def test_arms_that_have_no_label_count_in_common_are_taken_at_their_ends(make_run):
    runs = [make_run("a", 0, [0.5]), make_run("b", 0, [None, 0.6])]
    (found,) = rankings(runs)
    assert found.labelled is None
    assert (found.best, found.accuracy.mean, found.behind[0].accuracy) == ("b", 0.6, 0.5)


def test_arms_that_did_the_same_so_far_are_not_told_apart_by_the_seconds_it_took(make_run):
    runs = [
        make_run(arm, seed, [0.5 + 0.01 * seed, 0.6], sampling=seconds)
        for seed in (0, 1, 2)
        for arm, seconds in (("svp", 0.10), ("asvp", 0.11))
    ]
    for found in rankings(runs):
        assert found.behind[0].difference.mean == 0
        assert not found.behind[0].told_apart


def test_a_difference_below_a_thousandth_is_none(make_run):
    runs = [make_run(arm, seed, [0.5, end]) for seed in (0, 1, 2) for arm, end in (("a", 0.6004), ("b", 0.6))]
    (behind,) = rankings(runs)[-1].behind
    assert behind.difference.tells
    assert not behind.told_apart


def test_where_nothing_has_a_price_arms_are_compared_at_the_same_labels(make_run):
    runs = [make_run("a", 0, [0.5, 0.6]), make_run("b", 0, [0.4, 0.7])]
    for run in runs:
        for one in run.rounds:
            one["cost"].update(dict.fromkeys(one["cost"], 0.0))
    first, last = rankings(runs)
    assert (first.best, first.cost, first.amount) == ("a", 0.0, "100 labels")
    assert (last.best, last.accuracy.mean, last.behind[0].accuracy) == ("b", pytest.approx(0.7), pytest.approx(0.6))


def test_nothing_is_ranked_without_final_models(make_run):
    assert rankings([make_run("a", 0, proxies=[0.5, 0.6])]) == []


@pytest.fixture
def tested(make_run):
    """Two arms with two seeds, tested on the same 400 rows: b gets 10 rows fewer right."""

    def make(arm, seed, wrong, **options):
        right = {100: np.arange(400) >= 200, 200: np.arange(400) >= wrong}
        finals = [float(one.mean()) for one in right.values()]
        return make_run(arm, seed, finals, correct=right, sampling=0.0, **options)

    return [make(arm, seed, wrong) for arm, wrong in (("a", 100), ("b", 110)) for seed in (0, 1)]


def test_seeds_that_agree_are_as_sure_as_their_test_rows(tested):
    found = rankings(tested, redrawn(tested))[-1].behind[0].difference
    assert found.mean == pytest.approx(0.025)
    # Ten rows of 400: a binomial share, the same ones for both seeds.
    half = 1.96 * np.sqrt(0.025 * 0.975 / 400)
    assert found.high - found.mean == pytest.approx(half, rel=0.08)
    assert found.tells


def test_without_rows_of_every_final_model_nothing_is_drawn_anew(tested, make_run):
    assert redrawn(tested) is not None
    assert redrawn([*tested, make_run("c", 0, [0.5, 0.6])]) is None
    tested[0].config["data"]["test_limit"] = 5
    assert redrawn(tested) is None
    assert redrawn([]) is None
