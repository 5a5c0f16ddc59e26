"""Options that have no part in a run, or in any arm of a sweep, are told of; all others are not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tiny_runs import tiny_config

from asvp.config import Config, build_config, load_config
from asvp.config.load import presets
from asvp.data.source import Kind
from asvp.driver.cautions import (
    _OF_FINE_TUNES,
    _OF_KINDS,
    _OF_POLICIES,
    options_given,
    told_before,
    told_of_arms,
    without_part,
)
from asvp.driver.check import check_config
from asvp.driver.loop import run
from asvp.driver.preparation import prepare
from asvp.progress import SilentReporter
from asvp.tune_spaces import refreshes
from asvp.tune_spaces.catalogue import load_space
from asvp.tune_spaces.space import Space, trials


def idle(*overrides: str, kind: Kind = "text") -> dict[str, str]:
    return without_part(build_config({}, overrides), kind)


@pytest.mark.parametrize(
    ("overrides", "kind", "expected"),
    [
        (["refresh.at=[500]"], "text", {"refresh.at": "refresh.policy logme_ped"}),
        (["refresh.every=2"], "text", {"refresh.every": "refresh.policy logme_ped"}),
        (["refresh.policy=at", "refresh.at=500", "refresh.every=1"], "text", {"refresh.every": "refresh.policy at"}),
        (
            ["refresh.policy=every", "refresh.every=1", "refresh.threshold=5", "refresh.min_left=2"],
            "text",
            {"refresh.threshold": "refresh.policy every", "refresh.min_left": "refresh.policy every"},
        ),
        (
            ["refresh.policy=never", "refresh.holdout=0.3", "refresh.every=1"],
            "text",
            {"refresh.holdout": "refresh.policy never", "refresh.every": "refresh.policy never"},
        ),
        (["mode=svp", "refresh.policy=logme"], "text", {"refresh.policy": "mode svp"}),
        (
            ["mode=standard", "refresh.policy=never", "refresh.features=aligned", "proxy.lr=0.2"],
            "text",
            {key: "mode standard" for key in ("refresh.policy", "refresh.features", "proxy.lr")},
        ),
        (["budget=500", "selection.strategy=badge"], "text", {"selection.strategy": "a budget of one round"}),
        (
            ["encoder.decode=pil", "training.augment=false"],
            "text",
            dict.fromkeys(("encoder.decode", "training.augment"), "texts"),
        ),
        (
            ["encoder.max_length=9", "data.text=body"],
            "image",
            dict.fromkeys(("data.text", "encoder.max_length"), "images"),
        ),
        (
            ["mode=svp", "encoder.model=a/b", "training.lr=0.1"],
            "features",
            dict.fromkeys(("encoder.model", "training.lr"), "ready-made features"),
        ),
        (
            ["mode=svp", "training.method=lp", "training.epochs=2"],
            "text",
            {"training.epochs": "training.method lp where nothing is refreshed"},
        ),
        (["data.test_share=0.5"], "text", {"data.test_share": "test rows of their own (data.test)"}),
        (["data.shuffle_seed=3"], "text", {"data.shuffle_seed": "all rows of data.pool and data.test"}),
        (
            ["extraction.cache=null", "extraction.cache_limit=1GB"],
            "text",
            {"extraction.cache_limit": "extraction.cache null"},
        ),
    ],
)
def test_what_has_no_part_is_named_with_the_reason(overrides: list[str], kind: Kind, expected: dict[str, str]) -> None:
    assert idle(*overrides, kind=kind) == expected


@pytest.mark.parametrize(
    ("overrides", "kind"),
    [
        (["refresh.policy=at", "refresh.at=500", "refresh.max_refreshes=1", "refresh.min_labels=400"], "text"),
        (["refresh.policy=every", "refresh.every=2", "refresh.holdout=0.1"], "text"),
        (["refresh.policy=logme", "refresh.threshold=0.1", "refresh.min_growth=2", "refresh.min_left=0"], "text"),
        (["training.method=lp", "training.epochs=2", "training.lr=0.1"], "text"),
        (["mode=standard", "training.method=lp", "training.epochs=2"], "text"),
        (["encoder.decode=pil", "training.augment=false", "data.max_image_bytes=9"], "image"),
        (["encoder.max_length=9", "data.text=body", "data.max_text_bytes=9"], "text"),
        (["mode=svp", "proxy.lr=0.2", "selection.strategy=random", "training.class_weight=balanced"], "features"),
        (["data.test=null", "data.test_share=0.5", "data.shuffle_seed=1"], "text"),
        (["data.limit=500", "data.shuffle_seed=1"], "text"),
        (["data.pool=mine:rows", "data.text=body"], "image"),
        (["encoder.model=a/b", "encoder.revision=main"], "text"),
    ],
)
def test_what_has_a_part_is_not_told_of(overrides: list[str], kind: Kind) -> None:
    assert idle(*overrides, kind=kind) == {}


def test_a_folder_has_no_revision(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, encoder={"revision": "main"})
    assert list(without_part(config, "text")) == ["encoder.revision"]


@pytest.mark.parametrize("mode", ["svp", "asvp", "standard"])
@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_tell_of_nothing(name: str, mode: str) -> None:
    assert without_part(load_config(name, [f"mode={mode}"]), "image" if name == "images" else "text") == {}


def test_a_configuration_with_all_defaults_spelt_out_tells_of_nothing() -> None:
    whole = build_config(load_config("demo", ["mode=svp"]).model_dump())
    assert "refresh.at" not in set(options_given(whole))
    assert without_part(whole, "text") == {}


def test_the_rules_are_about_options_that_there_are() -> None:
    known = {"encoder"}
    for name, section in Config.model_fields.items():
        known |= {f"{name}.{inner}" for inner in getattr(section.annotation, "model_fields", {})}
    assert {*_OF_POLICIES, *_OF_KINDS, *_OF_FINE_TUNES} <= known


def told(space: Space, base: Config) -> list[str]:
    return told_of_arms([(trial.config, "text") for trial in trials(space, base.model_dump())])


@pytest.mark.parametrize(
    "name", ["svp_vs_asvp", "refresh_policies", "refresh_intervals", "thresholds", "strategies", "budgets"]
)
def test_ready_spaces_tell_of_nothing_by_themselves(name: str) -> None:
    base = load_config("demo")
    assert told(load_space(name, base), base) == []


def test_of_a_sweep_it_is_told_what_no_arm_has_a_use_for() -> None:
    base = build_config({"refresh": {"at": [500], "min_growth": 2.0}})
    shared = {**refreshes(never=True, every=[1]), "asked": {"mode": "asvp"}}
    assert told(Space(shared), base) == ["refresh.at has no part in any arm, and changes nothing"]
    assert told(Space(refreshes(at=[500])), base) == ["refresh.min_growth has no part in any arm, and changes nothing"]
    assert told(load_space("refresh_policies", base), base) == []
    axis: dict[str, Any] = {"refresh.every": {"grid": [1, 2]}}
    assert told(Space({"svp": {"mode": "svp"}, "asvp": {"refresh": {"policy": "every"}}}, (0,), axis), Config()) == []
    assert told(Space({"svp": {"mode": "svp"}}, (0,), axis), Config()) == [
        "refresh.every has no part in any arm, and changes nothing"
    ]


class _Notes(SilentReporter):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def test_check_and_run_tell_of_them_in_a_line_for_each_reason(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, refresh={"threshold": 0.5, "every": 1}, encoder={"decode": "pil"})
    expected = [
        "refresh.threshold and refresh.every have no part with mode svp, and change nothing",
        "encoder.decode has no part with texts, and changes nothing",
    ]
    assert sorted(told_before(prepare(config))) == sorted(expected)
    assert set(expected) <= set(check_config(config).warnings)
    notes = _Notes()
    out = tmp_path / "run"
    run(config, out=out, in_process=True, until_round=0, reporter=notes)
    assert {f"Warning: {line}" for line in expected} <= set(notes.said)
    again = _Notes()
    run(config, out=out, in_process=True, until_round=0, resume=True, reporter=again)
    assert not any("no part" in line for line in again.said)


def test_check_tells_of_a_budget_that_is_the_whole_pool(tmp_path: Path) -> None:
    whole = "The budget is the whole pool, so that every strategy ends with the same rows. Lower budget, or raise "
    whole += "data.limit"
    assert whole in check_config(tiny_config(tmp_path, budget="100x3")).warnings
    assert whole not in check_config(tiny_config(tmp_path, budget="100x2+99")).warnings
