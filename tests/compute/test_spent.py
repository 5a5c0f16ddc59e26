"""What work cost: busy seconds, times what was held, in a form that can be kept."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvp.spent import NOTHING, Share, Spent

AMOUNT = st.floats(0, 1e9)


def test_seconds_are_multiplied_by_the_cores_and_the_part_of_a_gpu_that_is_held() -> None:
    assert Share(4.0, 0.5).spent(10.0) == Spent(10.0, 40.0, 5.0)
    assert Share().spent(10.0) == Spent(10.0, 10.0, 0.0)


def test_costs_add_up_and_are_multiplied_part_by_part() -> None:
    assert Spent(1.0, 2.0, 3.0) + Spent(10.0, 20.0, 30.0) == Spent(11.0, 22.0, 33.0)
    assert Spent(1.0, 2.0, 3.0).times(2.5) == Spent(2.5, 5.0, 7.5)
    assert sum([Spent(1.0), Spent(2.0)], NOTHING) == Spent(3.0)
    assert Spent(0.0, 0.0, 0.0) == NOTHING


@given(AMOUNT, AMOUNT, AMOUNT)
def test_what_is_kept_as_json_is_read_back_to_the_last_bit(seconds: float, cpu: float, gpu: float) -> None:
    spent = Spent(seconds, cpu, gpu)
    assert Spent.from_json(json.loads(json.dumps(spent.as_json()))) == spent


GOOD = {"seconds": 1.0, "cpu_seconds": 2.0, "gpu_seconds": 0.0}


def test_whole_numbers_and_further_keys_are_read() -> None:
    assert Spent.from_json({**GOOD, "seconds": 3, "of_tomorrow": "x"}) == Spent(3.0, 2.0, 0.0)


@pytest.mark.parametrize(
    "stored",
    [
        None,
        1.0,
        "1.0",
        [1.0, 2.0, 0.0],
        {},
        {"seconds": 1.0},
        *({**GOOD, "cpu_seconds": value} for value in (-1.0, math.nan, math.inf, "2", None, True, [2.0])),
    ],
)
def test_anything_else_is_no_cost(stored: object) -> None:
    assert Spent.from_json(stored) is None
