"""Budgets are read as written and written as read."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvp.config.budget import format_budget, parse_budget


@pytest.mark.parametrize(
    ("written", "rounds"),
    [
        ("300+200x6", [300, 200, 200, 200, 200, 200, 200]),
        ("300 + 200X2 + 5*3", [300, 200, 200, 5, 5, 5]),
        ("40", [40]),
        (40, [40]),
        ([40, 10], [40, 10]),
    ],
)
def test_every_written_form_gives_its_rounds(written, rounds):
    assert parse_budget(written) == rounds


@given(st.lists(st.integers(1, 10**6), min_size=1, max_size=20))
def test_the_short_form_reads_back_as_the_same_rounds(rounds):
    assert parse_budget(format_budget(rounds)) == rounds


def test_the_short_form_counts_equal_neighbours():
    assert format_budget([300, 200, 200, 300]) == "300+200x2+300"


@pytest.mark.parametrize(
    "written",
    [
        "",
        "300+",
        "300-200",
        "__import__('os')",
        "3e2",
        "300+200x0",
        "0",
        0,
        -5,
        [],
        [10, 0],
        [10, 2.5],
        [True],
        True,
        None,
    ],
)
def test_what_is_no_budget_is_refused(written):
    with pytest.raises(ValueError, match=r"budget|understood|label|rounds"):
        parse_budget(written)
