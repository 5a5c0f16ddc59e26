"""Intervals against closed forms, and how many more seeds would tell."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from asvp.report.intervals import Interval, interval, redraw


def test_without_rows_the_interval_is_students_of_the_seeds():
    values = [0.01, 0.03, 0.05, 0.02]
    found = interval(values)
    low, high = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert (found.mean, found.low, found.high) == pytest.approx((np.mean(values), low, high))
    assert found.tells == (low > 0)


def test_draws_of_rows_give_the_binomial_interval_of_a_difference():
    random = np.random.default_rng(3)
    one, other = random.random(4000) < 0.7, random.random(4000) < 0.6
    draws = redraw([one, other])
    difference = one.astype(float) - other
    # Two seeds that are alike: what is left is the chance in the rows.
    found = interval([difference.mean()] * 2, np.tile((draws[:, 0] - draws[:, 1])[:, None], 2))
    half = 1.96 * difference.std() / math.sqrt(len(difference))
    assert found.high - found.mean == pytest.approx(half, rel=0.06)
    assert found.tells


def test_one_seed_has_no_interval_whatever_its_test_rows_say():
    draws = np.random.default_rng(11).normal(0.3, 0.001, (1000, 1))
    found = interval([0.3], draws)
    assert (found.mean, found.low, found.high) == (0.3, -math.inf, math.inf)
    assert not found.tells
    assert found.blur.shared == pytest.approx(0.001**2, rel=0.1)


def test_what_all_seeds_share_does_not_average_away_and_what_is_their_own_does():
    random = np.random.default_rng(4)
    shared, alone = random.normal(0, 0.03, (20_000, 1)), random.normal(0, 0.02, (20_000, 4))
    found = interval([0.1, 0.2, 0.15, 0.12], shared + alone)
    assert found.blur.shared == pytest.approx(0.03**2, rel=0.05)
    assert found.blur.alone == pytest.approx(0.02**2, rel=0.05)
    assert found.blur.half_width(10_000) == pytest.approx(1.96 * 0.03, rel=0.05)


def test_seeds_that_agree_by_luck_are_no_surer_than_their_test_rows():
    draws = np.random.default_rng(5).normal(0, 0.02, (5000, 3))
    found = interval([0.010, 0.010, 0.010], draws)
    assert found.high - found.mean == pytest.approx(1.96 * 0.02 / math.sqrt(3), rel=0.06)
    assert not found.tells


def test_intervals_of_crossed_seeds_and_rows_hold_the_truth_as_often_as_they_say():
    """Models whose rows are hard or easy for all of them, with chance of their own: 95 % of the intervals hold 0."""
    random = np.random.default_rng(6)
    held = []
    for _ in range(120):
        pull = random.normal(0, 0.08, (600, 1))
        ours, theirs = (random.random((600, 4)) < 0.6 + sign * pull for sign in (1, -1))
        draws = redraw([*ours.T, *theirs.T], draws=150)
        found = interval(ours.mean(0) - theirs.mean(0), draws[:, :4] - draws[:, 4:])
        held.append(found.low <= 0 <= found.high)
    assert 0.9 <= np.mean(held) <= 1.0


def test_draws_are_the_same_for_all_models_and_in_every_call():
    rows = np.random.default_rng(7).random((500, 1)) < 0.5
    once, twice = redraw([rows[:, 0], rows[:, 0]]), redraw([rows[:, 0], rows[:, 0]])
    np.testing.assert_array_equal(once, twice)
    np.testing.assert_array_equal(once[:, 0], once[:, 1])


def test_many_rows_are_drawn_in_groups_with_the_same_spread():
    right = np.random.default_rng(8).random(50_001) < 0.8
    draws = redraw([right], draws=400)[:, 0]
    assert draws.mean() == pytest.approx(right.mean(), abs=3e-4)
    assert draws.std() == pytest.approx(right.std() / math.sqrt(len(right)), rel=0.15)


def test_draws_in_which_a_value_is_missing_do_not_count():
    draws = np.random.default_rng(9).normal(0, 0.02, (1000, 2))
    draws[:100, 0] = np.nan
    assert interval([0.1, 0.2], draws).blur.alone > 0
    draws[:700, 0] = np.nan
    assert interval([0.1, 0.2], draws).blur.alone == 0


def test_the_seeds_that_would_tell_are_those_at_which_the_interval_leaves_zero():
    found = interval([0.00, 0.02, 0.04])
    assert not found.tells
    more = found.more_seeds()
    assert more is not None
    widths = [stats.t.ppf(0.975, n - 1) * 0.02 / math.sqrt(n) for n in (3 + more - 1, 3 + more)]
    assert widths[0] >= 0.02 > widths[1]


def test_no_number_of_seeds_is_named_where_none_would_tell():
    assert interval([0.001, -0.001]).more_seeds() is None
    assert interval([0.5]).more_seeds() is None
    draws = np.random.default_rng(10).normal(0, 0.05, (2000, 1)) + np.zeros((2000, 3))
    hidden = interval([0.01, 0.02, 0.03], draws)
    assert hidden.rows_hide_it
    assert hidden.more_seeds() is None


def test_one_seed_without_rows_and_no_seed_at_all():
    found = interval([0.3])
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert isinstance(found, Interval)
    with pytest.raises(ValueError, match="no value"):
        interval([])
