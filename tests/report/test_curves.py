"""Means and ranges over seeds are those of the numbers written down by hand."""

from __future__ import annotations

import pytest

from asvp.report.curves import by_arm, learning_curves


def test_a_curve_is_mean_and_range_over_seeds(make_run):
    runs = [make_run("svp", 0, [0.5, 0.70]), make_run("svp", 1, [0.6, 0.64]), make_run("random", 0, [0.4, 0.5])]
    random, svp = learning_curves(runs, "final")
    assert (random.arm, svp.arm, svp.seeds) == ("random", "svp", (0, 1))
    assert [point.labelled for point in svp.points] == [100, 200]
    assert [point.mean for point in svp.points] == pytest.approx([0.55, 0.67])
    assert [(point.low, point.high) for point in svp.points] == [(0.5, 0.6), (0.64, 0.70)]


def test_a_run_that_stopped_counts_as_far_as_it_went(make_run):
    (curve,) = learning_curves([make_run("svp", 0, [0.5, 0.7]), make_run("svp", 1, [0.6], finished=False)], "final")
    assert [dict(point.values) for point in curve.points] == [{0: 0.5, 1: 0.6}, {0: 0.7}]


def test_a_point_shows_a_refresh_when_half_of_the_seeds_had_it(make_run):
    runs = [
        make_run("asvp", 0, [0.5, 0.6, 0.7], refreshed=[False, True, False]),
        make_run("asvp", 1, [0.5, 0.6, 0.7], refreshed=[False, True, False]),
        make_run("asvp", 2, [0.5, 0.6, 0.7], refreshed=[False, False, True]),
    ]
    assert learning_curves(runs)[0].refreshed_at == (200,)


def test_an_arm_without_the_measure_has_no_points(make_run):
    assert learning_curves([make_run("standard", 0, [0.5])], "proxy")[0].points == ()


def test_random_picks_come_first(make_run):
    runs = [make_run(arm, 0, [0.5]) for arm in ("svp", "asvp", "random")]
    assert list(by_arm(runs)) == ["random", "svp", "asvp"]
