"""Configurations, overrides, budgets and spaces of any content: an error of ours or a result, and no hang."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import yaml
from fuzzing import fuzzed, no_hang, tree
from hypothesis import example, given
from hypothesis import strategies as st

from asvp.config import Config, build_config, load_config
from asvp.config.budget import format_budget, parse_budget
from asvp.errors import AsvpError, ConfigError
from asvp.features.cache import parse_size
from asvp.tune_spaces.catalogue import load_space
from asvp.tune_spaces.space import trials

KEYS = [
    key
    for section, value in Config().model_dump().items()
    for key in ([f"{section}.{name}" for name in value] if isinstance(value, dict) else [section])
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -(10**400), 2**63, 0, -1, 1e308, 1e-320])
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["auto", "300+200x6", "1x99999999999", "../..", "s3://a:b@c", "\x00", "~", "builtin:", "a:b:c"])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=4),
    max_leaves=8,
)
OVERRIDES = st.text(max_size=9) | st.tuples(st.sampled_from(KEYS) | st.text(max_size=8), st.text(max_size=12)).map(
    "=".join
)
ALIASES = "a0: &a0 [x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
MERGES = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 12))
DOCUMENTS = (
    st.text(max_size=60)
    | st.text(alphabet="{}[]:,-&*!|>?#'\"\n \tab1", max_size=60)
    | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=6), VALUES, max_size=4).map(yaml.safe_dump)
)


@pytest.fixture(autouse=True)
def watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    with no_hang():
        yield


def told(error: AsvpError) -> None:
    """What is wrong, in a message that a terminal can show."""
    assert len(str(error)) < 5000
    str(error).encode("utf-8", "backslashreplace")


@fuzzed(60)
@given(document=DOCUMENTS)
@example(document="[" * 100_000)
@example(document="data: " + "{a: " * 100_000)
@example(document=f"data: {{pool: x}}\n{ALIASES}")
@example(document=f"{ALIASES}selection: {{options: *a11}}\n")
@example(document=MERGES)
@example(document="encoder: {options: &a {b: *a}}\n")
@example(document="seed: 0x" + "f" * 100_000)
@example(document="seed: " + "9" * 100_000)
@example(document="budget: 1x99999999999\n")
@example(document="budget: [1e400]\n")
@example(document="? [a, b]\n: c\n")
@example(document="!!python/object/apply:os.system [ls]\n")
@example(document="seed: !!int x\n")
@example(document="seed: !!timestamp 2001-99-99\n")
def test_a_document_is_a_configuration_or_an_error(document: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(document.encode("utf-8", "surrogatepass"))
    before = tree(tmp_path)
    try:
        config = load_config(str(path))
    except ConfigError as error:
        told(error)
    else:
        assert build_config(yaml.safe_load(config.to_yaml())) == config
    assert tree(tmp_path) == before


@fuzzed(60)
@given(key=st.sampled_from(KEYS), value=VALUES)
def test_a_value_of_any_kind_is_taken_or_refused_by_its_key(key: str, value: Any) -> None:
    section, _, name = key.partition(".")
    try:
        config = build_config({section: {name: value}} if name else {section: value})
    except ConfigError as error:
        told(error)
    else:
        assert build_config(yaml.safe_load(config.to_yaml())) == config


@fuzzed(60)
@given(override=OVERRIDES)
@example(override="a" + ".a" * 100_000 + "=1")
@example(override="selection.options=" + "[" * 100_000)
@example(override="selection.options=" + "{a: " * 100_000)
@example(override="encoder.options={a: &a [*a]}")
@example(override="seed=" + "1_" * 100_000)
@example(override="seed=" + "1:" * 100_000)
def test_an_override_is_taken_or_refused(override: str) -> None:
    with suppress(ConfigError):
        build_config({}, [override])


@fuzzed(60)
@given(text=st.text(alphabet="0123456789+xX* -.e", max_size=14) | st.text(max_size=8))
@example(text="1x" + "9" * 10_000)
@example(text="9" * 10_000)
@example(text="1+" * 1_000_000)
@example(text="1x99999+" * 99)
def test_a_budget_is_rounds_or_an_error(text: str) -> None:
    try:
        rounds = parse_budget(text)
    except ValueError:
        return
    assert min(rounds) > 0
    assert parse_budget(format_budget(rounds)) == rounds


@fuzzed(40)
@given(text=st.text(alphabet="0123456789KMGTBkb. -e", max_size=8) | st.text(max_size=8))
@example(text="9" * 5000)
@example(text="1e999GB")
def test_a_size_is_bytes_or_an_error(text: str) -> None:
    try:
        assert (parse_size(text) or 1) >= 1
    except ConfigError as error:
        told(error)


AXES = st.fixed_dictionaries(
    {},
    optional={
        "grid": st.lists(SCALARS, max_size=3) | SCALARS,
        "choice": st.lists(SCALARS, max_size=3),
        "uniform": st.lists(SCALARS, max_size=3),
        "loguniform": VALUES,
        "low": SCALARS,
        "high": SCALARS,
    },
)
CHANGES = st.dictionaries(st.sampled_from(KEYS), AXES | VALUES, max_size=2)
SPACES = st.fixed_dictionaries(
    {},
    optional={
        "arms": VALUES | st.dictionaries(st.text(max_size=6), CHANGES, max_size=3),
        "seeds": VALUES | st.lists(st.integers(0, 3), max_size=3),
        "axes": VALUES | st.dictionaries(st.sampled_from(KEYS), AXES, max_size=2),
        "samples": SCALARS | st.integers(1, 3),
        "question": VALUES,
    },
).map(yaml.safe_dump)
MANY = "axes:\n" + "".join(
    f"  {key}: {{grid: [{', '.join(map(str, range(1, 41)))}]}}\n"
    for key in ("seed", "data.limit", "data.test_limit", "proxy.epochs", "training.epochs", "training.batch_size")
)


@fuzzed(60)
@given(document=SPACES | DOCUMENTS)
@example(document=MANY)
@example(document="arms: {a: {seed: {grid: [1]}}}\nsamples: 999999999999\n")
@example(document="axes: {proxy.lr: {uniform: [0, 1]}}\nsamples: 999999999999\n")
@example(document="seeds: [" + "1, " * 20_000 + "]\narms: {a: {}}\n")
@example(document="arms: " + "{a: " * 100_000)
@example(document="arms: {../../a: {}, /b: {}, '': {}, .: {}}\n")
def test_a_space_has_trials_or_an_error(document: str, tmp_path: Path) -> None:
    path = tmp_path / "space.yaml"
    path.write_bytes(document.encode("utf-8", "surrogatepass"))
    before = tree(tmp_path)
    try:
        for trial in islice(trials(load_space(str(path), Config()), Config().model_dump()), 200):
            assert "/" not in trial.name
            assert not trial.name.startswith(".")
    except AsvpError as error:
        told(error)
    assert tree(tmp_path) == before
