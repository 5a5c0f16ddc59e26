"""Values given by -s: the option's type decides what they are; text stays as it was typed, or quoted as in YAML."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from asvp.config import build_config, load_config
from asvp.errors import ConfigError


def value_at(key: str, typed: str) -> Any:
    found: Any = build_config({}, [f"{key}={typed}"])
    for part in key.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    return found


SURPRISES = [
    "set #2", "a: b", "@x", "`x", "no", "on", "yes", "true", "1", "1e3", "0o7", "010", "1:30", "2024-01-01", "~",
    "null", "", " x ", '"open', "'x", "'a' b", '"a": b', "'a' # b",
    "[a]", "{a", "!tag", "*star", "&and", "%x", "| x", "> x", "- x", "?", "é本",
    "a\tb", "a=b",
]  # fmt: skip


@pytest.mark.parametrize("typed", SURPRISES)
def test_text_for_an_option_that_takes_text_stays_as_typed(typed: str) -> None:
    assert value_at("data.pool", typed) == typed
    assert value_at("data.label", typed) == typed


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_that_is_not_quoted_stays_as_typed(typed: str) -> None:
    assume(not typed.strip().startswith(("'", '"')))
    assert value_at("encoder.model", typed) == typed
    assert load_config(None, [f"data.pool={typed}"]).data.pool == typed


@pytest.mark.parametrize("typed", [one for one in SURPRISES if one not in ("~", "null", "")])
def test_text_stays_as_typed_where_null_is_possible(typed: str) -> None:
    assert value_at("data.test", typed) == typed


@settings(max_examples=60, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.sampled_from(["'", '"']))
def test_text_that_is_quoted_is_what_yaml_reads(text: str, mark: str) -> None:
    quoted = yaml.safe_dump(text, default_style=mark, width=10_000, allow_unicode=True).rstrip("\n")
    assert value_at("encoder.model", quoted) == yaml.safe_load(quoted) == text
    assert value_at("data.test", f" {quoted} ") == text


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("selection.strategy", '"margin"', "margin"),
        ("data.pool", "'pool.csv'", "pool.csv"),
        ("data.pool", "'it''s'", "it's"),
        ("data.pool", r'"a\tb"', "a\tb"),
        ("data.id", "'null'", "null"),
        ("data.label", '"010"', "010"),
        ("data.test", "''", ""),
        ("mode", '"svp"', "svp"),
        ("proxy.class_weight", "'balanced'", "balanced"),
    ],
)
def test_quotation_marks_of_yaml_are_no_part_of_a_text(key: str, typed: str, value: str) -> None:
    assert value_at(key, typed) == value


@pytest.mark.parametrize("typed", ["null", "~", ""])
def test_null_is_none_where_it_is_possible(typed: str) -> None:
    assert value_at("extraction.cache", typed) is None
    assert value_at("data.id", typed) is None
    assert value_at("proxy.class_weight", typed) is None


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("seed", "010", 10),
        ("seed", "1e3", 1000),
        ("seed", "1_000", 1000),
        ("seed", " 7 ", 7),
        ("training.lr", "1e-5", 1e-5),
        ("training.lr", "5.e-1", 0.5),
        ("encoder.compile", "yes", True),
        ("encoder.compile", "off", False),
        ("mode", " svp ", "svp"),
        ("proxy.class_weight", "balanced", "balanced"),
        ("budget", "5+5x1", [5, 5]),
        ("budget", "010", [10]),
        ("budget", "[1, 2]", [1, 2]),
        ("proxy.hidden", "[auto, 8]", ["auto", 8]),
        ("extraction.cache_limit", "200GB", "200GB"),
        ("extraction.cache_limit", "5", 5),
        ("selection.options.name", "a # b", "a # b"),
        ("selection.options.name", "a: b", "a: b"),
        ("selection.options.name", "2024-01-01", "2024-01-01"),
        ("selection.options.name", "1:30", "1:30"),
        ("selection.options.name", "[2024-01-01]", ["2024-01-01"]),
        ("selection.options.name", "'5'", "5"),
        ("selection.options.name", "1.5", 1.5),
        ("selection.options.name", "no", False),
    ],
)
def test_other_options_take_what_their_type_wants(key: str, typed: str, value: Any) -> None:
    found = value_at(key, typed)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("override", "key", "shown"),
    [
        ("seed=yes", "seed", "True"),
        ("seed=1:30", "seed", "'1:30'"),
        ("seed=5 # five", "seed", "'5 # five'"),
        ("training.lr=on", "training.lr", "True"),
        ("mode=no", "mode", "'no'"),
        ("proxy.hidden=[yes]", "proxy.hidden", "True"),
        ("refresh.at=[true]", "refresh.at", "True"),
        ("budget=[1, 2] # two", "budget", "# two"),
        ("extraction.cache_limit=-5", "extraction.cache_limit", "-5"),
        ("extraction.cache_limit=yes", "extraction.cache_limit", "True"),
        ("data.pool=\udcff", "data.pool", "udcff"),
        ("seed=" + "9" * 5000, "seed", "999"),
    ],
)
def test_what_is_no_such_value_is_refused_with_what_was_typed(override: str, key: str, shown: str) -> None:
    with pytest.raises(ConfigError) as caught:
        build_config({}, [override])
    assert caught.value.key == key
    assert shown in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "seed: yes",
        "data: {pool: no}",
        "1: 2",
        "data: {1: 2}",
        "selection: &a {options: {x: *a}}",
        "selection: {options: {1: 2}}",
        "selection: {options: {d: !!binary aGk=}}",
        "? [a]\n: 1\n",
        "seed: " + "9" * 5000,
        "a: *b",
        "--- 1\n--- 2",
        "\0",
    ],
)
def test_a_file_with_values_that_are_none_is_refused_in_words(text: str, tmp_path: Any) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError):
        load_config(path)


@pytest.mark.parametrize("name", ["a" * 300, "~nobody-of-this-name/x", "\0", ""])
def test_a_name_that_can_be_no_file_is_no_config(name: str) -> None:
    with pytest.raises(ConfigError, match="neither a file nor a preset"):
        load_config(name)


@pytest.mark.parametrize("given", [5, {}, b"demo", ["demo"]])
def test_what_is_no_path_is_no_config(given: Any) -> None:
    with pytest.raises(ConfigError, match="neither a path nor"):
        load_config(given)


@pytest.mark.parametrize("overrides", ["seed=1", {"seed": 1}, None, [1], 5])
def test_overrides_are_a_list_of_texts(overrides: Any) -> None:
    with pytest.raises(ConfigError):
        load_config("demo", overrides)


def test_numbers_of_numpy_are_numbers() -> None:
    config = build_config({"seed": np.int64(3), "selection": {"options": {"a": np.int64(2), "b": (np.float32(0.5),)}}})
    assert (config.seed, config.selection.options) == (3, {"a": 2, "b": [0.5]})
    assert "numpy" not in config.to_yaml()
