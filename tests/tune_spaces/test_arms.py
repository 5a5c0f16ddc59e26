"""Arms by the dozen: budgets, strategies, refreshes, and their combinations."""

from __future__ import annotations

import pytest

from asvp.config import build_config
from asvp.errors import ConfigError
from asvp.tune_spaces import Space, budgets, cross, refreshes, strategies
from asvp.tune_spaces.arms import intervals
from asvp.tune_spaces.naming import settings_line
from asvp.tune_spaces.space import chosen_arms


def test_budgets_buy_the_total_with_what_is_left_in_the_last_round() -> None:
    found = budgets(500, 1000, round_size=[100, 300], first=200)
    assert {name: arm["budget"] for name, arm in found.items()} == {
        "200+100x3": [200, 100, 100, 100],
        "200+300": [200, 300],
        "200+100x8": [200, *[100] * 8],
        "200+300x2+200": [200, 300, 300, 200],
    }
    assert list(budgets(300, round_size=100)) == ["100x3"]


@pytest.mark.parametrize(("total", "size", "first"), [(100, 0, None), (100, 10, 200), (100, 10, 0), (0, 1, None)])
def test_budgets_that_cannot_be_are_refused(total: int, size: int, first: int | None) -> None:
    with pytest.raises(ConfigError, match="budgets: cannot be split so"):
        budgets(total, round_size=size, first=first)


def test_strategies_have_their_defaults_or_what_is_given() -> None:
    wrapped = {"strategy": "badge", "options": {}, "wrap": [{"subsample": {"rows": 99}}]}
    arms = strategies("margin", "package.module:NAME", sampled=wrapped)
    assert list(arms) == ["margin", "package.module.NAME", "sampled"]
    assert arms["margin"] == {"selection": {"strategy": "margin", "options": {}}}
    assert arms["sampled"] == {"selection": wrapped}


def test_refreshes_are_told_nothing_of_another_policy() -> None:
    base = build_config({"budget": "100+100x3", "refresh": {"policy": "at", "at": [200], "threshold": 9.0}})
    arms = refreshes(never=True, every=[1, 2], at=[100, [100, 300]], logme=[None], logme_ped=[0.2, None], standard=True)
    found = {name: arm.config for name, arm in chosen_arms(Space(arms), base.model_dump()).items()}
    assert list(found) == [
        "svp",
        "asvp_every_1",
        "asvp_every_2",
        "asvp_at_100",
        "asvp_at_100+300",
        "asvp_logme",
        "asvp_logme_ped_0.2",
        "asvp_logme_ped",
        "standard",
    ]
    assert found["asvp_every_2"].refresh.every == 2
    assert found["asvp_every_2"].refresh.at is None
    assert found["asvp_at_100+300"].refresh.at == [100, 300]
    assert found["asvp_logme_ped_0.2"].refresh.threshold == 0.2
    assert found["asvp_logme_ped"].refresh.threshold is None
    assert found["asvp_logme"].refresh.policy == "logme"


def test_a_cross_is_every_combination() -> None:
    found = cross(budgets(40, round_size=[10, 20]), strategies("margin", "badge"), refreshes(never=True, every=[1]))
    assert list(found)[:3] == ["10x4-margin-svp", "10x4-margin-asvp_every_1", "10x4-badge-svp"]
    assert len(found) == 8
    assert found["20x2-badge-svp"] == {
        "budget": [20, 20],
        "selection": {"strategy": "badge", "options": {}},
        "mode": "svp",
    }


def test_a_cross_in_which_two_arms_change_one_option_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"refresh\.every"):
        cross(refreshes(every=[1]), {"mine": {"refresh": {"every": 2}}})


def test_intervals_leave_a_round_to_choose_in() -> None:
    assert [intervals(rounds) for rounds in (1, 2, 3, 4, 5, 9)] == [[], [1], [1, 2], [1, 2], [1, 2, 4], [1, 2, 4, 8]]


@pytest.mark.parametrize("text", ["margin", "010", "a b", "'quoted'", '"quoted"', "'", "é'\"", '"\\', "'\t😀"])
def test_what_an_arm_changes_is_told_as_an_override_takes_it(text: str) -> None:
    line = settings_line({"data": {"pool": text}})
    assert build_config({}, [line]).data.pool == text
