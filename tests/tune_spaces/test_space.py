"""Search spaces: arms, seeds, what comes to the same, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from tiny_runs import tiny_settings

from asvp.config import build_config
from asvp.errors import ConfigError, SelectionError
from asvp.tune_spaces.catalogue import load_space, spaces
from asvp.tune_spaces.space import Space, chosen_arms, trials


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, Any]:
    return tiny_settings(tmp_path)


def write_space(path: Path, content: Any) -> str:
    path.write_text(yaml.safe_dump(content))
    return str(path)


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
    assert [trial.seed for trial in made] == [5] * 6


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ({"arms": {}}, "arms"),
        ({"arms": {"a": 3}}, "arms.a"),
        ({"arms": {"a b": {}}}, "'a b'"),
        ({"arms": {"a": {}}, "seeds": ["x"]}, "seeds"),
        ({"arms": {"a": {}}, "seeds": [1, 1]}, "twice"),
        ({"arms": {"a": {}}, "sedes": [1]}, "sedes.*Did you mean seeds"),
        ({"arms": {"a": {"seed": 3}}}, r"arms\.a\.seed.*Write seeds"),
        ({"axes": {"seed": {"grid": [1, 2]}}}, r"axes\.seed.*Write seeds"),
        ({"axes": [1]}, "axes"),
        ({"arms": {"a": {}}, "samples": 0}, "samples"),
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


def test_arms_that_come_to_the_same_are_one_and_it_is_said(settings: dict[str, Any]) -> None:
    base = build_config(settings)
    same = {
        "svp": {},
        # In a budget of three rounds a refresh after the third has nothing to choose for.
        "late": {"mode": "asvp", "refresh": {"policy": "every", "every": 3}},
        "at": {"mode": "asvp", "refresh": {"policy": "at", "at": [30]}},
        "second": {"mode": "asvp", "refresh": {"policy": "every", "every": 2, "threshold": 1.0}},
        "spelt_out": {"selection": {"strategy": "margin", "options": {}}, "proxy": {"lr": 0.1}},
        "other": {"proxy": {"lr": 0.2}},
    }
    said: list[str] = []
    made = list(trials(Space(same, (0, 1)), base.model_dump(), say=said.append))
    assert [trial.name for trial in made] == [f"{arm}-seed{seed}" for seed in (0, 1) for arm in ("svp", "at", "other")]
    assert said == [
        "Arm svp stands for late, spelt_out: they come to the same",
        "Arm at stands for second: they come to the same",
    ]


@pytest.mark.parametrize(
    "changes",
    [
        {"mode": "standard"},
        {"mode": "asvp", "refresh": {"policy": "every", "every": 1, "features": "aligned"}},
        {"mode": "asvp", "refresh": {"policy": "every", "every": 1, "holdout": 0.2}},
        {"mode": "asvp", "refresh": {"policy": "logme_ped", "threshold": 0.2}},
        {"mode": "asvp", "refresh": {"policy": "logme_ped", "threshold": 0.2, "min_growth": 2}},
        {"training": {"epochs": 2}},
        {"selection": {"wrap": [{"subsample": {"rows": 50}}]}},
    ],
)
def test_arms_that_differ_in_what_is_looked_at_stay_two(settings: dict[str, Any], changes: dict[str, Any]) -> None:
    base = {**settings, "mode": "asvp", "refresh": {"policy": "every", "every": 1}}
    assert list(chosen_arms(Space({"base": {}, "other": changes}), base)) == ["base", "other"]


def test_a_wrong_strategy_or_option_in_an_arm_names_the_arm_and_the_near_name(settings: dict[str, Any]) -> None:
    for selection, named in (
        ({"strategy": "marign"}, r"selection\.strategy.*in arm bad.*Did you mean margin"),
        ({"strategy": "typiclust", "options": {"cluster": 3}}, r"options\.cluster.*in arm bad.*Did you mean clusters"),
    ):
        with pytest.raises(SelectionError, match=named):
            list(trials(Space({"good": {}, "bad": {"selection": selection}}), settings))


def test_an_error_of_what_all_arms_share_names_none(settings: dict[str, Any]) -> None:
    trial = next(trials(Space({"svp": {"mode": "svp"}}), settings))
    with pytest.raises(ConfigError, match=r"^data\.pool: is missing$"), trial.named():
        raise ConfigError("is missing", key="data.pool")
    with pytest.raises(ConfigError, match=r"^mode: is wrong \(in arm svp\)$"), trial.named():
        raise ConfigError("is wrong", key="mode")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("raise RuntimeError('no luck')", "cannot be imported: RuntimeError: no luck"),
        ("import not_there", "cannot be imported: ModuleNotFoundError"),
        ("space = 3", r"has no function space\(config\)"),
        ("def space(config): return {}", "gives a dict, not a Space"),
        ("def space(config): return 1 / 0", "ended with ZeroDivisionError"),
        ("from asvp.tune_spaces import Space\ndef space(config): return Space({'a b': {}})", "is no name"),
    ],
)
def test_a_python_file_that_gives_no_space_is_refused(
    settings: dict[str, Any], tmp_path: Path, content: str, told: str
) -> None:
    (tmp_path / "mine.py").write_text(content)
    with pytest.raises(ConfigError, match=told):
        load_space(str(tmp_path / "mine.py"), build_config(settings))
