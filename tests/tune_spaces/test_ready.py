"""The ready spaces: their arms and questions, and budgets that are too small for them."""

from __future__ import annotations

from typing import Any

import pytest

from asvp.config import Config, build_config
from asvp.errors import ConfigError
from asvp.selection import strategies
from asvp.tune_spaces.behaviour import refreshes
from asvp.tune_spaces.catalogue import load_space, spaces
from asvp.tune_spaces.space import ChosenArm, chosen_arms, trials

READY = ["budgets", "everything", "refresh_intervals", "refresh_policies", "strategies", "svp_vs_asvp", "thresholds"]
FEWEST = {name: "20+2" if name in ("budgets", "everything", "strategies") else "20+10x2" for name in READY}
FEWEST["thresholds"] = "20+20"


def config(budget: str = "100+100x4", **settings: Any) -> Config:
    return build_config({"budget": budget, **settings})


def arms(name: str, base: Config) -> dict[str, ChosenArm]:
    return chosen_arms(load_space(name, base), base.model_dump())


def test_each_says_what_question_it_answers() -> None:
    known = spaces()
    assert [name for name in known if name in READY] == READY
    assert all("?" in known[name] for name in READY)


@pytest.mark.parametrize("name", READY)
def test_each_has_three_seeds_and_arms_that_all_differ(name: str) -> None:
    space = load_space(name, config())
    assert space.seeds == (0, 1, 2)
    assert all(not arm.same for arm in arms(name, config()).values())
    assert len(arms(name, config())) == len(space.arms) > 1


@pytest.mark.parametrize("name", READY)
def test_each_works_with_a_small_budget_and_says_so_where_none_is_small_enough(name: str) -> None:
    assert arms(name, config(FEWEST[name]))
    with pytest.raises(ConfigError, match="budget"):
        load_space(name, config("20"))


@pytest.mark.parametrize(
    ("name", "budget"), [("svp_vs_asvp", "20+10"), ("everything", "20+1"), ("thresholds", "20+10")]
)
def test_a_budget_that_is_too_small_is_refused_with_what_is_enough(name: str, budget: str) -> None:
    with pytest.raises(ConfigError, match=r"^budget: .*got.*(Write for example|Begin with fewer)"):
        load_space(name, config(budget))


@pytest.mark.parametrize(
    ("budget", "intervals"), [("20+10x2", (1, 2)), ("20+10x3", (2, 3)), ("20+10x4", (2, 4)), ("20+10x8", (2, 4))]
)
def test_svp_vs_asvp_has_two_intervals_that_fit_the_budget(budget: str, intervals: tuple[int, int]) -> None:
    found = arms("svp_vs_asvp", config(budget))
    every = [f"asvp_every_{rounds}" for rounds in intervals]
    assert list(found) == ["random", "svp", "asvp", *every, "standard"]
    assert [found[name].config.refresh.every for name in every] == list(intervals)
    assert all(refreshes(found[name].config).rounds for name in every)
    assert found["random"].config.selection.strategy == "random"
    assert (found["asvp"].config.mode, found["asvp"].config.refresh.policy) == ("asvp", "logme_ped")
    made = list(trials(load_space("svp_vs_asvp", config(budget)), config(budget).model_dump()))
    assert [trial.name for trial in made[::6]] == ["random-seed0", "random-seed1", "random-seed2"]


def test_the_indicator_of_svp_vs_asvp_is_the_configurations_own() -> None:
    asked = config(refresh={"policy": "logme", "threshold": 0.07})
    assert arms("svp_vs_asvp", asked)["asvp"].config.refresh.policy == "logme"
    assert arms("svp_vs_asvp", asked)["asvp"].config.refresh.threshold == 0.07
    # What another policy was told does not reach it.
    fixed = arms("svp_vs_asvp", config(refresh={"policy": "at", "at": [200], "threshold": 9.0}))["asvp"].config.refresh
    assert (fixed.policy, fixed.at, fixed.threshold) == ("logme_ped", None, None)


def test_refresh_policies_refreshes_at_the_second_round_or_where_it_is_told() -> None:
    found = arms("refresh_policies", config())
    assert list(found) == ["random", "svp", "asvp_at", "asvp_logme_ped", "standard"]
    assert found["asvp_at"].config.refresh.at == [200]
    told = arms("refresh_policies", config(refresh={"policy": "at", "at": [100]}))
    assert told["asvp_at"].config.refresh.at == [100]
    assert told["asvp_logme_ped"].config.refresh.at is None


def test_refresh_intervals_double_as_long_as_they_fit() -> None:
    assert list(arms("refresh_intervals", config())) == ["svp", "asvp_every_1", "asvp_every_2", "asvp_every_4"]


def test_strategies_has_every_registered_one_on_features_that_stay() -> None:
    found = arms("strategies", config(mode="standard"))
    assert list(found) == list(strategies())
    assert {arm.config.mode for arm in found.values()} == {"svp"}


def test_budgets_buys_the_same_labels_in_more_and_more_rounds() -> None:
    found = {name: arm.config.budget for name, arm in arms("budgets", config("100+30x3")).items()}
    assert list(found) == ["2_rounds", "3_rounds", "5_rounds", "9_rounds", "17_rounds"]
    assert all(sum(budget) == 190 and budget[0] == 100 for budget in found.values())
    assert found["5_rounds"] == [100, 23, 23, 22, 22]
    assert list(arms("budgets", config("100+3"))) == ["2_rounds", "3_rounds"]


def test_thresholds_are_around_the_measured_one_of_the_policy() -> None:
    found = arms("thresholds", config())
    asked = [arm.config.refresh.threshold for name, arm in found.items() if name != "svp"]
    assert asked == [0.06, 0.09, 0.12, 0.18, 0.24]
    assert list(found)[:2] == ["svp", "asvp_logme_ped_0.06"]
    logme = arms("thresholds", config(refresh={"policy": "logme"}))
    assert list(logme)[3] == "asvp_logme_0.025"


def test_everything_is_budgets_by_strategies_by_intervals() -> None:
    found = arms("everything", config())
    # 2 intervals in 3 rounds, 3 in 5 and 4 in 9, and never.
    assert len(found) == (3 + 4 + 5) * len(strategies())
    assert found["5_rounds-badge-asvp_every_4"].config.refresh.every == 4
