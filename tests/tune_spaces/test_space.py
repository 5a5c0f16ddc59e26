"""Search spaces: arms, seeds, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_runs import tiny_settings

from asvp.config import build_config
from asvp.errors import ConfigError
from asvp.tune_spaces.space import Space, load_space, spaces, trials


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return tiny_settings(tmp_path)


def write_space(path: Path, content: Any) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)


def test_svp_vs_asvp_has_four_arms_and_refreshes_after_the_second_round(settings: dict[str, Any]) -> None:
    base = build_config(settings)
    made = list(trials(load_space("svp_vs_asvp", base), base.model_dump()))
    assert [trial.name for trial in made[:4]] == ["random-seed0", "svp-seed0", "asvp-seed0", "standard-seed0"]
    assert [trial.seed for trial in made] == [0] * 4 + [1] * 4
    asvp = made[2].config
    assert (asvp.mode, asvp.refresh.policy, asvp.refresh.at) == ("asvp", "at", [30])
    assert made[0].config.selection.strategy == "random"
    assert made[3].config.mode == "standard"


def test_refresh_policies_adds_an_arm_that_asks_the_indicator(settings: dict[str, Any]) -> None:
    base = build_config({**settings, "refresh": {"policy": "at", "at": [20]}})
    made = list(trials(load_space("refresh_policies", base), base.model_dump()))
    arms = {trial.arm: trial.config for trial in made[:5]}
    assert list(arms) == ["random", "svp", "asvp_at", "asvp_logme_ped", "standard"]
    assert [trial.seed for trial in made] == [0] * 5 + [1] * 5 + [2] * 5
    assert arms["asvp_at"].refresh.at == [20]
    assert (arms["asvp_logme_ped"].refresh.policy, arms["asvp_logme_ped"].refresh.at) == ("logme_ped", None)


def test_the_label_count_of_the_refresh_can_be_given(settings: dict[str, Any]) -> None:
    base = build_config({**settings, "refresh": {"policy": "at", "at": [20]}})
    assert load_space("svp_vs_asvp", base).arms["asvp"]["refresh"]["at"] == [20]


def test_a_budget_without_room_for_a_refresh_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="three rounds"):
        load_space("svp_vs_asvp", build_config({**settings, "budget": "20+10"}))


def test_a_yaml_space_changes_what_it_names_and_keeps_the_rest(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write_space(tmp_path / "s.yaml", {"arms": {"a": {"proxy": {"lr": 0.2}}, "b": {}}, "seeds": [3]})
    base = build_config(settings)
    made = {trial.arm: trial.config for trial in trials(load_space(path, base), base.model_dump())}
    assert made["a"].proxy.lr == 0.2
    assert made["a"].proxy.epochs == made["b"].proxy.epochs == 5
    assert {config.seed for config in made.values()} == {3}


def test_options_of_the_strategy_stay_behind_in_arms_that_name_another(settings: dict[str, Any]) -> None:
    base = build_config({**settings, "selection": {"strategy": "cluster_margin", "options": {"clusters": 7}}})
    changes = [{}, {"strategy": "margin"}, {"strategy": "cluster_margin", "options": {"candidates": 3}}]
    space = Space({f"arm{number}": {"selection": change} for number, change in enumerate(changes)})
    made = [trial.config.selection.options for trial in trials(space, base.model_dump(), [0])]
    assert made == [{"clusters": 7}, {}, {"clusters": 7, "candidates": 3}]


def test_seeds_given_replace_those_of_the_space(settings: dict[str, Any]) -> None:
    base = build_config(settings)
    made = list(trials(load_space("svp_vs_asvp", base), base.model_dump(), [5]))
    assert [trial.seed for trial in made] == [5] * 4


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"arms": {}}, "arms"),
        ({"arms": {"a": 3}}, "arms.a"),
        ({"arms": {"a b": {}}}, "'a b'"),
        ({"arms": {"a": {}}, "seeds": ["x"]}, "seeds"),
        ({"arms": {"a": {}}, "seeds": [1, 1]}, "twice"),
        ({"arms": {"a": {}}, "sedes": [1]}, "sedes"),
    ],
)
def test_a_wrong_space_is_refused(settings: dict[str, Any], tmp_path: Path, content: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        load_space(write_space(tmp_path / "s.yaml", content), build_config(settings))


def test_an_unknown_space_suggests_the_nearest(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="Did you mean svp_vs_asvp"):
        load_space("svp_vs_aspv", build_config(settings))
    assert "svp_vs_asvp" in spaces()


def test_a_wrong_key_in_an_arm_names_the_arm(settings: dict[str, Any], tmp_path: Path) -> None:
    path = write_space(tmp_path / "s.yaml", {"arms": {"good": {}, "bad": {"proxy": {"lrr": 1}}}})
    base = build_config(settings)
    with pytest.raises(ConfigError, match=r"proxy\.lrr.*in arm bad"):
        list(trials(load_space(path, base), base.model_dump()))


@pytest.mark.parametrize("name", ["../up", "a/b", "", "a" * 201, "two\n", "red\x1b", "a b", 5])
def test_a_name_that_can_be_no_folders_is_no_arms_name(name: Any) -> None:
    with pytest.raises(ConfigError, match="is no name"):
        list(trials(Space({name: {}}), {}))


@pytest.mark.parametrize("seeds", [[], [-1], [True], [1.5], ["0"], "01", [0, 0], [2**32], 3, {0: 1}])
def test_seeds_are_different_whole_numbers(seeds: Any) -> None:
    with pytest.raises(ConfigError, match="seed"):
        list(trials(Space({"svp": {}}), {}, seeds))
    with pytest.raises(ConfigError, match="seed"):
        list(trials(Space({"svp": {}}, seeds), {}))


def test_seeds_of_numpy_are_seeds() -> None:
    assert [trial.name for trial in trials(Space({"svp": {}}), {}, np.arange(2))] == ["svp-seed0", "svp-seed1"]


@pytest.mark.parametrize("arms", [{}, [], None, {"svp": 5}])
def test_arms_are_names_with_changes(arms: Any) -> None:
    with pytest.raises(ConfigError, match="is not a mapping"):
        list(trials(Space(arms), {}))
