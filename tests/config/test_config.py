"""A configuration is read whole, and every mistake is named with key, value and mend."""

from __future__ import annotations

import importlib
import re

import pytest
import yaml
from pydantic import BaseModel

from asvp.config import (
    Config,
    build_config,
    labels_by_round,
    load_config,
    merge,
    parse_override,
    presets,
    read_mapping,
)
from asvp.config.errors import RETIRED
from asvp.errors import ConfigError


def options(section: type[BaseModel] = Config, above: str = ""):
    """Every option with its dotted key."""
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from options(field.annotation, f"{above}{name}.")
        else:
            yield f"{above}{name}", field


def test_defaults_are_those_of_the_contract():
    config = load_config()
    assert (config.seed, config.mode, config.budget) == (0, "asvp", [300, *[200] * 6])
    assert (config.selection.strategy, config.selection.cold_start) == ("margin", "random")
    assert (config.refresh.policy, config.refresh.threshold) == ("logme_ped", None)
    assert (config.training.lr, config.training.head_lr, config.training.batch_size) == (2e-4, 2e-3, 32)
    assert (config.extraction.shard_rows, config.extraction.feature_dtype) == (4096, "float32")
    assert (config.cost.per_label, config.cost.gpu_hour, config.cost.cpu_hour) == (0.04, 2.5, 0.04)
    assert set(config.workers.model_dump().values()) == {"auto"}


def test_every_option_says_what_it_means():
    assert [key for key, field in options() if not field.description] == []


def test_the_resolved_yaml_reads_back_as_the_same_config(tmp_path):
    config = build_config(
        {}, ["refresh.policy=at", "refresh.at=500", "training.lr=1e-5", "encoder.options={layers: 2}"]
    )
    path = tmp_path / "config.yaml"
    path.write_text(config.to_yaml())
    assert load_config(path) == config
    assert list(yaml.safe_load(config.to_yaml())) == list(Config.model_fields)


def test_overrides_win_over_the_file_and_later_ones_over_earlier(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("seed: 3\ndata: {limit: 100, text: words}\n")
    config = load_config(path, ["data.limit=50", "data.limit=60", "budget=[10, 20]"])
    assert (config.seed, config.data.limit, config.data.text, config.budget) == (3, 60, "words", [10, 20])


def test_presets_can_be_imported_after_they_were_read():
    presets()
    assert importlib.import_module("asvp.config").presets is presets


def test_every_preset_is_a_valid_config():
    assert all(isinstance(load_config(name), Config) for name in presets())


@pytest.mark.parametrize(
    ("text", "value"), [("1e-4", 1e-4), ("2E3", 2000.0), ("5.e-1", 0.5), ("null", None), ("a", "a")]
)
def test_values_are_yaml_with_short_floats(text, value):
    assert parse_override(f"a.b={text}") == {"a": {"b": value}}


def test_merging_leaves_its_inputs_alone():
    base = {"a": {"b": 1, "c": 2}}
    assert merge(base, {"a": {"b": 3}}, {"d": {"e": 4}}) == {"a": {"b": 3, "c": 2}, "d": {"e": 4}}
    assert base == {"a": {"b": 1, "c": 2}}


def test_labels_add_up_round_by_round():
    assert labels_by_round([300, 200, 200]) == [300, 500, 700]


@pytest.mark.parametrize(
    ("overrides", "key", "said"),
    [
        (["sead=1"], "sead", "Did you mean seed?"),
        (["trainig.epochs=3"], "trainig", "Did you mean training?"),
        (["data.limt=3"], "data.limt", "Did you mean data.limit?"),
        (["epochs=3"], "epochs", "Did you mean proxy.epochs or training.epochs?"),
        (["data.mystery=3"], "data.mystery", "Known here: pool, test"),
        (["encoder=resnet"], "encoder", "is a section, not a value"),
        (["data=null"], "data", "leave it out"),
        (["seed=-1"], "seed", "greater than or equal to 0"),
        (["mode=best"], "mode", "'svp', 'asvp' or 'standard'"),
        (["workers.count=many"], "workers.count", "valid integer.* or .*'auto'"),
        (["refresh.at=[0]"], "refresh.at", "greater than or equal to 1"),
        (["training.lr=.nan"], "training.lr", "finite"),
        (["budget=300+x"], "budget", "'x' is not understood"),
        (["budget=300+200x0"], "budget", "has no rounds"),
        (["workers.count=0"], "workers.count", "greater than or equal to 1"),
        (["workers.cpus=0"], "workers.cpus", "greater than 0"),
        (["workers.gpus=-1"], "workers.gpus", "greater than or equal to 0"),
        (["workers.per_gpu=0.5"], "workers.per_gpu", "valid integer"),
        (["workers.gpus=1.5"], "workers.gpus", "no whole number"),
        (["workers.gpus=0.5", "workers.per_gpu=4"], "workers.gpus", "contradicts workers.per_gpu 4.* 0.25 of a GPU"),
        (["workers.gpus=0", "workers.per_gpu=1"], "workers.gpus", "contradicts"),
        (["workers.gpus=2", "workers.per_gpu=1"], "workers.gpus", "contradicts"),
        (["refresh.policy=every"], "refresh.policy", "needs refresh.every"),
        (["refresh.policy=at"], "refresh.policy", "needs refresh.at"),
        (["refresh.policy=at", "refresh.at=400"], "refresh.at", "not reached by the budget"),
        (["training.evaluate_at=[301]"], "training.evaluate_at", r"stops at \[300, 500"),
        (["seed"], "-s", "Write for example"),
        (["data..limit=1"], "-s", "Write for example"),
        (["data.limit=[1"], "data.limit", "no YAML"),
    ],
)
def test_a_mistake_is_named_with_its_key(overrides, key, said):
    with pytest.raises(ConfigError) as caught:
        build_config({}, overrides)
    assert caught.value.key == key
    assert re.search(said, str(caught.value)), str(caught.value)
    assert "pydantic" not in str(caught.value)
    assert "Config" not in str(caught.value)


@pytest.mark.parametrize(
    "given", [{"gpus": 0.5, "per_gpu": 2}, {"gpus": 0.33, "per_gpu": 3}, {"gpus": 1, "per_gpu": 1}]
)
def test_a_share_of_a_gpu_may_be_said_in_both_ways(given):
    workers = build_config({"workers": given}).workers
    assert (workers.gpus, workers.per_gpu) == (given["gpus"], given["per_gpu"])


RETIRED_KEYS = {
    "extraction.actors": "workers.count",
    "extraction.cpus_per_actor": "workers.cpus",
    "extraction.gpus_per_actor": "workers.gpus",
    "resources.cpus_per_trial": "workers.cpus",
    "resources.gpus_per_trial": "workers.gpus",
}


@pytest.mark.parametrize("old", RETIRED_KEYS)
@pytest.mark.parametrize("way", ["override", "file", "mapping"])
def test_a_key_of_an_earlier_version_is_answered_with_the_new_one(old, way, tmp_path):
    section, key = old.split(".")
    path = tmp_path / "old.yaml"
    path.write_text(f"{section}: {{{key}: 2}}\n")
    read = {
        "override": lambda: load_config(None, [f"{old}=2"]),
        "file": lambda: load_config(path),
        "mapping": lambda: build_config({section: {key: 2}}),
    }[way]
    with pytest.raises(ConfigError) as caught:
        read()
    assert caught.value.key in (old, section)
    assert RETIRED_KEYS[old] in caught.value.message


def test_every_retired_key_is_unknown_now():
    known = {key for key, _ in options()} | set(Config.model_fields)
    assert not known & set(RETIRED)
    assert all(any(key in said for key in known) for said in RETIRED.values())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: 1\nseed: 2\n", "seed is given twice"),
        ("data: {limit: 1, limit: 2}\n", "limit is given twice"),
        ("- seed\n", "holds no mapping"),
        ("seed: [\n", "is no YAML"),
        ("\xff", "holds no mapping"),
    ],
)
def test_a_file_that_is_no_config_is_refused(tmp_path, text, said):
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=said):
        load_config(path)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_bytes("text: naïve".encode("latin-1"))
    with pytest.raises(ConfigError, match="UTF-8"):
        load_config(path)


def test_an_unknown_name_is_answered_with_the_presets():
    with pytest.raises(ConfigError, match="neither a file nor a preset") as caught:
        load_config("no-such-preset")
    assert all(name in caught.value.mend for name in presets())


def test_a_misspelt_name_is_answered_with_the_nearest():
    with pytest.raises(ConfigError, match=r"Did you mean debian-sections\?"):
        read_mapping("debian-section", {"demo": "", "debian-sections": ""}, what="config")


def test_an_empty_file_means_the_defaults(tmp_path):
    path = tmp_path / "empty.yaml"
    path.write_text("# all defaults\n")
    assert load_config(path) == Config()
