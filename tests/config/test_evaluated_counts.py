"""Label counts at which final models are trained."""

from __future__ import annotations

import pytest

from asvp.config import evaluated_counts, load_config, with_curves


@pytest.mark.parametrize(
    ("budget", "counts"),
    [
        ([100] * 4, {200, 300, 400}),
        ([300] + [200] * 6, {500, 1100, 1300, 1500}),
        ([200] * 10, {800, 1400, 1800, 2000}),
        ([50], {50}),
        ([1, 1], {1, 2}),
    ],
)
def test_several_are_the_rounds_at_a_third_two_thirds_five_sixths_and_all(budget, counts):
    assert evaluated_counts(budget, "several") == counts


def test_the_last_count_is_always_among_them():
    assert evaluated_counts([10, 10, 10], "last") == {30}
    assert evaluated_counts([10, 10, 10], "every") == {10, 20, 30}
    assert evaluated_counts([10, 10, 10], [10]) == {10, 30}


def test_a_sweep_takes_several_unless_the_option_was_given():
    assert with_curves(load_config("demo")).training.evaluate_at == "several"
    assert with_curves(load_config("demo", ["training.evaluate_at=last"])).training.evaluate_at == "last"
    assert load_config("demo").training.evaluate_at == "last"
