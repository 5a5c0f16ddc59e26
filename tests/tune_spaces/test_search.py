"""Searches: what is drawn and how arms are named after it, what is asked for and remembered, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asvp.config import Config
from asvp.errors import ConfigError, SelectionError
from asvp.files import write_atomically
from asvp.tune_spaces import Space, choice, grid, loguniform, uniform
from asvp.tune_spaces.draws import draw, drawn_arms
from asvp.tune_spaces.search import Search, planned_trials, read_search, settled, write_search
from asvp.tune_spaces.space import varying_arms

BASE = Config(mode="svp", budget=[20, 10, 10], proxy={"lr": 0.5}).model_dump()
EVERY = {"mode": "asvp", "refresh": {"policy": "every", "every": grid(1, 2)}}
SPACE = Space(
    {"svp": {"mode": "svp"}, "asvp": EVERY},
    axes={"training.lr": loguniform(5e-5, 1e-3), "proxy.epochs": uniform(5, 50)},
)


def silent(line: str) -> None:
    """Nobody listens."""


def test_the_same_arms_are_drawn_again_and_more_of_them_begin_with_those() -> None:
    few, many = (drawn_arms(SPACE, BASE, samples, silent) for samples in (5, 20))
    assert len(few) == 5
    assert len(many) == 20
    assert list(many)[:5] == list(few)
    assert all(many[name].config == arm.config for name, arm in few.items())


def test_each_axis_is_drawn_from_its_own_values_and_only_in_arms_that_have_it() -> None:
    arms = varying_arms(SPACE)
    drawn = [draw(arms, number) for number in range(2000)]
    assert {(arm.name, len(point)) for arm, point in drawn} == {("svp", 2), ("asvp", 3)}
    rates = np.array([point["training", "lr"].value for _, point in drawn])
    assert rates.min() >= 5e-5
    assert rates.max() <= 1e-3
    # Half of them below the middle of the exponents.
    assert abs((rates < (5e-5 * 1e-3) ** 0.5).mean() - 0.5) < 0.05
    counts = Counter(point["refresh", "every"].value for arm, point in drawn if arm.name == "asvp")
    assert set(counts) == {1, 2}
    # A quarter of the draws each, and three standard deviations.
    assert all(abs(count - 500) < 3 * (2000 * 0.25 * 0.75) ** 0.5 for count in counts.values())


def test_an_arms_name_has_what_makes_a_difference_whatever_else_was_drawn() -> None:
    space = Space({"svp": {"mode": "svp"}}, axes={"refresh.every": grid(1, 2), "proxy.lr": grid(0.1, 0.2)})
    assert set(drawn_arms(space, BASE, 1, silent)) < {"svp-lr_0.1", "svp-lr_0.2"}
    assert set(drawn_arms(space, BASE, 2, silent)) == {"svp-lr_0.1", "svp-lr_0.2"}


def test_equal_arms_are_one_further_ones_take_their_place_and_it_is_said_when_nothing_new_comes() -> None:
    same = {"late": {"mode": "asvp", "refresh": {"policy": "every", "every": 3}}}
    space = Space({"svp": {"mode": "svp"}, **same, "standard": {"mode": "standard"}}, axes={"proxy.lr": grid(0.1, 0.2)})
    said: list[str] = []
    found = drawn_arms(space, BASE, 4, said.append)
    assert said == []
    assert len(found) == 4
    assert len({(arm.config.mode == "standard", arm.config.proxy.lr) for arm in found.values()}) == 4
    assert drawn_arms(space, BASE, 9, said.append).keys() == found.keys()
    assert said == ["4 different arms were found, not 9: further draws came to the same as those"]


def test_an_arm_that_cannot_be_is_refused_by_name() -> None:
    with pytest.raises(SelectionError, match=r"selection\.strategy.*in arm bad.*Did you mean margin"):
        drawn_arms(Space({"bad": {"selection": {"strategy": "marign"}}}), BASE, 1, silent)


def test_samples_of_a_grid_replace_those_of_the_space_and_keep_what_was_there() -> None:
    space = Space({"svp": {}}, (0,), axes={"proxy.lr": uniform(0.1, 0.9), "budget": grid([20], [30])}, samples=1)
    few, many = (
        [trial.arm for trial in planned_trials(space, BASE, Search("grid", samples), None, silent)]
        for samples in (None, 3)
    )
    assert (len(few), len(many)) == (2, 6)
    assert set(few) < set(many)


def test_random_trials_have_all_seeds() -> None:
    space = Space({"a": {}, "b": {"mode": "standard"}}, axes={"proxy.lr": choice(0.1, 0.2)})
    made = planned_trials(space, BASE, Search("random", 3), [4, 7], silent)
    assert Counter(trial.seed for trial in made) == {4: 3, 7: 3}
    assert len({trial.arm for trial in made}) == 3


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        (("optune", 3), r"--search: is no search \(got 'optune'\)\. Did you mean optuna"),
        (("random", None), "--samples: a search by random needs"),
        (("optuna", None), "--samples: a search by optuna needs"),
        (("random", 0), "--samples: is no whole number from 1"),
        (("grid", -1), "--samples"),
        (("random", 2.0), "--samples"),
        (("random", True), "--samples"),
        ((3, 3), "--search"),
    ],
)
def test_what_is_asked_wrongly_is_refused(asked: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        settled(*asked)


def test_a_sweep_goes_on_as_it_was_begun() -> None:
    begun = Search("random", 7)
    assert settled(None, None) == Search("grid", None)
    assert settled(None, None, begun) == settled("random", None, begun) == begun
    assert settled(None, 9, begun) == Search("random", 9)
    with pytest.raises(ConfigError, match="the sweep was begun with random, and goes on with no other"):
        settled("grid", None, begun)


def test_a_search_is_remembered_and_one_of_an_earlier_version_is_a_grid(tmp_path: Path) -> None:
    assert read_search(tmp_path) == (Search(), [])
    suggested = [{"parameters": {"arm": "svp", "training.lr": 1e-4}, "arm": "svp-lr_0.0001"}]
    write_search(tmp_path, Search("optuna", 9), suggested, write_atomically)
    assert read_search(tmp_path) == (Search("optuna", 9), suggested)
    (tmp_path / "search.json").write_text(json.dumps({"search": "optuna"}))
    with pytest.raises(ConfigError, match=r"search\.json: cannot be read"):
        read_search(tmp_path)
