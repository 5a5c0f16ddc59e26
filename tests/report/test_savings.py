"""Labels, dollars and savings for an accuracy are those worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asvp.report.comparison_tables import savings_table
from asvp.report.savings import amount_needed, cost_curve, cost_needed, default_targets, labels_needed, savings

CURVE = [(100, 0.5), (200, 0.6), (400, 0.7)]


@pytest.mark.parametrize(
    ("target", "labels"),
    [(0.55, 150), (0.6, 200), (0.65, 300), (0.7, 400), (0.5, 100), (0.3, 100), (0.71, None)],
)
def test_labels_lie_on_the_line_between_rounds(target, labels):
    assert labels_needed(CURVE, target) == (None if labels is None else pytest.approx(labels))


def test_the_first_crossing_counts_when_a_curve_falls_again():
    assert labels_needed([(100, 0.5), (200, 0.7), (300, 0.6), (400, 0.8)], 0.65) == pytest.approx(175)


@given(st.lists(st.floats(0.01, 0.2), min_size=2, max_size=8), st.floats(0, 1))
def test_rising_curves_invert_as_numpy_interpolates(steps, share):
    values = np.cumsum(steps)
    counts = np.arange(1, len(values) + 1) * 100
    target = values[0] + share * (values[-1] - values[0])
    if target <= values[-1]:
        expected = np.interp(target, values, counts)
        assert labels_needed(list(zip(counts.tolist(), values.tolist(), strict=True)), target) == pytest.approx(
            expected
        )


def test_a_label_count_pays_for_its_own_final_model_only(make_run):
    run = make_run("svp", 0, [0.5, 0.6], sampling=10.0, training=[100.0, 200.0])
    # Labels 4 a round, sampling 0.10 a round, training 1 and 2; the half dollar of evaluation is nobody's need.
    assert cost_curve(run) == pytest.approx({100: 4.10 + 1, 200: 8.20 + 2})
    assert cost_needed(run, 0.55) == pytest.approx((5.10 + 10.20) / 2)
    assert cost_needed(run, 0.7) is None


def test_a_cost_that_is_not_split_up_counts_whole(make_run, a_round):
    rounds = [{**a_round(0, 100, final=0.5), "cost": {"labels": 4.0, "compute": 1.0, "total": 5.0}}]
    assert cost_curve(make_run("svp", 0, rounds=rounds)) == {100: 5.0}


def test_savings_are_against_random_picks_with_the_same_seed(make_run):
    runs = [
        make_run("random", 0, [0.5, 0.6]),
        make_run("random", 1, [0.4, 0.6]),
        make_run("random", 2, [0.4, 0.45]),
        make_run("svp", 0, [0.6, 0.7]),
        make_run("svp", 1, [0.5, 0.6]),
        make_run("svp", 2, [0.6, 0.7]),
    ]
    random, svp = savings(runs, [0.55])
    assert random.labels == pytest.approx({0: 150, 1: 175})
    assert random.ratio == {0: 0, 1: 0}
    assert svp.labels == pytest.approx({0: 100, 1: 150, 2: 100})
    assert svp.ratio == pytest.approx({0: 1 - 100 / 150, 1: 1 - 150 / 175})
    # Two of its curves begin above the target: what they need is at most that, and no interval is given.
    assert svp.at_most == {0, 2}
    assert svp.saved is None
    assert (svp.seeds, svp.arm, svp.target) == (3, "svp", 0.55)


def test_without_random_picks_nothing_is_saved(make_run):
    (found,) = savings([make_run("svp", 0, [0.5, 0.6])], [0.55])
    assert found.ratio == {}
    assert found.labels == pytest.approx({0: 150})


def test_savings_come_with_an_interval_over_the_seeds(make_run):
    random = [make_run("random", seed, [0.4, 0.6]) for seed in range(3)]
    svp = [make_run("svp", seed, [0.4, end]) for seed, end in enumerate((0.7, 0.8, 0.9))]
    _, found = savings([*random, *svp], [0.55])
    ratios = [1 - (100 + 100 * 0.15 / rise) / 175 for rise in (0.3, 0.4, 0.5)]
    low, high = stats.t.interval(0.95, 2, np.mean(ratios), stats.sem(ratios))
    assert list(found.ratio.values()) == pytest.approx(ratios)
    assert (found.saved.low, found.saved.high) == pytest.approx((low, high))


def test_an_interval_that_holds_everything_is_not_shown_as_knowledge(make_run):
    random = [make_run("random", seed, [0.4, 0.6]) for seed in range(2)]
    svp = [make_run("svp", seed, [0.4, end]) for seed, end in enumerate((0.65, 0.9))]
    found = savings([*random, *svp], [0.55])
    table = savings_table(found)
    assert table.rows[1][-1] == "too wide (2 seeds)"
    # The numbers are in the CSV file all the same.
    assert table.numbers[1]["saved_high"] - table.numbers[1]["saved_low"] > 1


def test_one_final_model_is_no_curve_and_saves_nothing(make_run):
    runs = [make_run("random", 0, [0.5, 0.6]), make_run("standard", 0, [None, 0.7], proxies=[0.5, 0.6])]
    assert default_targets(runs) == default_targets(runs[:1])
    _, standard = savings(runs, [0.55])
    assert (standard.labels, standard.ratio, standard.seeds) == ({}, {}, 0)


def test_where_random_picks_begin_above_the_target_nothing_is_said_to_be_saved(make_run):
    _, found = savings([make_run("random", 0, [0.6, 0.7]), make_run("svp", 0, [0.5, 0.7])], [0.55])
    assert found.labels == pytest.approx({0: 125})
    assert found.ratio == {}


def test_many_curves_are_crossed_at_once():
    curves = np.array([[0.5, 0.6, 0.7], [0.2, 0.3, 0.4], [0.6, 0.5, 0.8]])
    np.testing.assert_allclose(amount_needed([1.0, 2.0, 4.0], curves, 0.55), [1.5, np.nan, 1.0])


def test_default_targets_are_passed_by_every_arm(make_run):
    runs = [make_run("random", 0, [0.5, 0.62]), make_run("svp", 0, [0.53, 0.7])]
    targets = default_targets(runs)
    assert targets == [0.56, 0.59, 0.62]
    assert all(labels_needed(run.accuracies(), target) is not None for run in runs for target in targets)


def test_default_targets_of_curves_that_never_meet_are_the_lower_best(make_run):
    assert default_targets([make_run("random", 0, [0.3, 0.4]), make_run("svp", 0, [0.5, 0.6])]) == [0.4]
    assert default_targets([make_run("svp", 0, rounds=[])]) == []
