"""Axes: what is drawn, how arms are named after values, and what is refused."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest

from asvp.config import Config
from asvp.errors import ConfigError
from asvp.tune_spaces import Space, choice, grid, loguniform, uniform
from asvp.tune_spaces.axes import as_axis
from asvp.tune_spaces.naming import LONGEST, part, unique
from asvp.tune_spaces.space import chosen_arms

BASE = Config(mode="svp", budget=[20, 10, 10], proxy={"lr": 0.5}).model_dump()


def names(space: Space) -> list[str]:
    return list(chosen_arms(space, BASE))


def test_grids_are_crossed_in_the_order_they_are_written() -> None:
    space = Space(axes={"proxy.lr": grid(0.1, 0.2), "budget": grid("20+10x2", [30, 10])})
    arms = chosen_arms(space, BASE)
    assert list(arms) == ["lr_0.1-20+10x2", "lr_0.1-30+10", "lr_0.2-20+10x2", "lr_0.2-30+10"]
    assert [(arm.config.proxy.lr, arm.config.budget) for arm in arms.values()] == [
        (0.1, [20, 10, 10]),
        (0.1, [30, 10]),
        (0.2, [20, 10, 10]),
        (0.2, [30, 10]),
    ]


def test_an_axis_in_an_arm_is_that_arms_alone() -> None:
    every = {"mode": "asvp", "refresh": {"policy": "every", "every": grid(1, 2)}}
    assert names(Space({"svp": {"mode": "svp"}, "asvp": every})) == ["svp", "asvp-every_1", "asvp-every_2"]


def test_an_axis_that_makes_no_difference_to_an_arm_is_not_in_its_name() -> None:
    space = Space(
        {"svp": {"mode": "svp"}, "asvp": {"mode": "asvp", "refresh": {"policy": "every", "every": 1}}},
        axes={"refresh.every": grid(1, 2), "proxy.lr": grid(0.1, 0.2), "refresh.features": grid("both", "aligned")},
    )
    arms = chosen_arms(space, BASE)
    # The second arm gives refresh.every itself.
    assert list(arms) == [
        "svp-lr_0.1",
        "svp-lr_0.2",
        "asvp-lr_0.1-both",
        "asvp-lr_0.1-aligned",
        "asvp-lr_0.2-both",
        "asvp-lr_0.2-aligned",
    ]
    assert arms["svp-lr_0.1"].same == (
        "svp-every_1-lr_0.1-both",
        "svp-every_1-lr_0.1-aligned",
        "svp-every_2-lr_0.1-both",
        "svp-every_2-lr_0.1-aligned",
    )


def test_values_of_sections_are_merged_and_may_have_names() -> None:
    quick = {"epochs": 1, "lr": 1.0}
    arms = chosen_arms(
        Space({"a": {"proxy": {"batch_size": 7}}}, axes={"proxy": grid(quick=quick, slow={"lr": 0.1})}), BASE
    )
    assert list(arms) == ["a-quick", "a-slow"]
    assert [(arm.config.proxy.epochs, arm.config.proxy.lr, arm.config.proxy.batch_size) for arm in arms.values()] == [
        (1, 1.0, 7),
        (60, 0.1, 7),
    ]


def test_samples_are_the_same_for_every_arm_and_every_call() -> None:
    space = Space({"a": {}, "b": {"proxy": {"epochs": 9}}}, axes={"proxy.lr": loguniform(0.01, 1)}, samples=5)
    drawn = [arm.config.proxy.lr for arm in chosen_arms(space, BASE).values()]
    assert drawn[:5] == drawn[5:]
    assert len(set(drawn)) == 5
    assert drawn == [arm.config.proxy.lr for arm in chosen_arms(space, BASE).values()]
    assert all(name == f"{name[0]}-lr_{lr:g}" for name, lr in zip(names(space), drawn, strict=True))


def test_more_samples_keep_those_that_were_there() -> None:
    few, many = (names(Space(axes={"proxy.lr": uniform(0.1, 1)}, samples=count)) for count in (3, 6))
    assert many[:3] == few


def test_whole_numbers_are_drawn_for_options_that_take_no_others() -> None:
    space = Space(axes={"proxy.epochs": uniform(1.0, 3.0), "proxy.lr": uniform(1, 3)}, samples=60)
    configs = [arm.config.proxy for arm in chosen_arms(space, BASE).values()]
    assert {config.epochs for config in configs} == {1, 2, 3}
    assert len({config.lr for config in configs}) > 20


@pytest.mark.parametrize(("bounds", "whole"), [((2, 9), True), ((2.0, 9.0), False)])
def test_the_bounds_say_whether_a_strategys_option_is_whole(bounds: tuple[float, float], whole: bool) -> None:
    options = {"strategy": "activeft", "options": {"temperature": uniform(*bounds)}}
    arms = chosen_arms(Space({"a": {"selection": options}}, samples=8), BASE)
    assert all(arm.config.selection.options["temperature"] % 1 == 0 for arm in arms.values()) == whole


def test_numbers_are_spread_as_they_should_be() -> None:
    generator = np.random.default_rng(0)
    even = [uniform(0.0, 10.0).draw(generator, whole=False).value for _ in range(4000)]
    orders = [loguniform(1e-4, 1.0).draw(generator, whole=False).value for _ in range(4000)]
    faces = Counter(uniform(1, 6).draw(generator, whole=True).value for _ in range(6000))
    named = Counter(choice("a", b=2).draw(generator, whole=False).name for _ in range(4000))
    # Three standard deviations of the mean, and of a count.
    assert abs(np.mean(even) - 5.0) < 3 * 10 / 12**0.5 / 4000**0.5
    assert abs(np.mean(np.log10(orders)) + 2.0) < 3 * 4 / 12**0.5 / 4000**0.5
    assert set(faces) == set(range(1, 7))
    assert all(abs(count - 1000) < 3 * (6000 * 5 / 36) ** 0.5 for count in faces.values())
    assert abs(named["b"] - 2000) < 3 * 1000**0.5
    assert min(orders) >= 1e-4
    assert max(orders) <= 1.0


def test_yaml_writes_axes_as_mappings() -> None:
    assert as_axis({"grid": [1, 2]}) == grid(1, 2)
    assert as_axis({"choice": {"a": 1, "b": 2}}) == choice(a=1, b=2)
    assert as_axis({"loguniform": [0.1, 1]}) == loguniform(0.1, 1)
    assert as_axis({"policy": "every"}) is None
    assert as_axis({"grid": [1], "choice": [2]}) is None


@pytest.mark.parametrize(
    ("arms", "axes", "told"),
    [
        ({"a": {"refresh": {"every": {"gird": [1, 2]}}}}, {}, r"refresh\.every.*in arm a.*Did you mean grid"),
        ({"a": {"refresh": {"every": {"grid": 3}}}}, {}, r"refresh\.every.*is no list.*in arm a"),
        (
            {"a": {"refresh": {"evry": {"grid": [1]}}}},
            {},
            r"refresh\.evry.*in arm a-evry_1.*Did you mean refresh\.every",
        ),
        ({"a": {}}, {"traning.lr": {"grid": [0.1]}}, r"traning.*in arm a-lr_0.1.*Did you mean training"),
        ({"a": {}}, {"training.lr": {"grid": [-1]}}, r"training\.lr.*greater than 0.*in arm a-lr_-1"),
        ({"a": {}}, {"training.lr": {"grdi": [1]}}, r"axes\.training\.lr.*Did you mean grid"),
        ({"a": {}}, {"training.lr": 0.1}, r"axes\.training\.lr: is no axis"),
        ({"a": {"proxy": {"lr": {"uniform": [0.1, 1]}}}}, {}, r"proxy\.lr.*how often \(in arm a\).*samples: 8"),
        ({"a": {"proxy": {"lr": {"uniform": [1, 0.1]}}}}, {}, r"proxy\.lr.*lower one first.*in arm a"),
        ({"a": {"proxy": {"lr": {"loguniform": [0, 0.1]}}}}, {}, r"proxy\.lr.*above 0.*in arm a"),
        ({"a": {"proxy": {"lr": {"uniform": 3}}}}, {}, r"proxy\.lr.*two numbers"),
        ({"a": {"proxy": {"lr": {"grid": []}}}}, {}, r"proxy\.lr.*has no values"),
    ],
)
def test_an_axis_that_is_not_understood_names_key_and_arm(arms: Any, axes: Any, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        names(Space(arms, axes=axes))


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("every", 2, "every_2"),
        ("lr", 2e-05, "lr_2e-05"),
        ("augment", True, "augment_true"),
        ("threshold", None, "threshold_null"),
        ("at", [100, 200], "at_100+200"),
        ("hidden", [], "hidden_none"),
        ("strategy", "margin", "margin"),
        ("strategy", "package.module:NAME", "package.module.NAME"),
        ("batch_size", "auto", "batch_size_auto"),
        ("model", "sentence-transformers/all-MiniLM-L6-v2", "all-MiniLM-L6-v2"),
        ("budget", [100, 50, 50], "100+50x2"),
        ("budget", "no budget", "budget_no.budget"),
        ("selection", {"strategy": "typiclust", "options": {"clusters": 9}}, "typiclust-clusters_9"),
        ("selection", {"strategy": "margin", "options": {}}, "margin"),
    ],
)
def test_values_are_called_so_that_they_can_be_read(key: str, value: Any, told: str) -> None:
    assert part(key, value) == told


def test_keys_that_end_alike_are_told_apart() -> None:
    space = Space(axes={"training.lr": grid(0.1), "proxy.lr": grid(0.2), "proxy.epochs": grid(3)})
    assert names(space) == ["training.lr_0.1-proxy.lr_0.2-epochs_3"]


def test_names_that_would_be_one_are_numbered_and_none_is_too_long() -> None:
    assert names(Space(axes={"proxy.lr": grid(0.1, 0.10000001)})) == ["lr_0.1", "lr_0.1-2"]
    assert len(unique("a" * 300, set())) == LONGEST
    assert unique("a" * 300, {"a" * LONGEST}) == "a" * (LONGEST - 2) + "-2"
