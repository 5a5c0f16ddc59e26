"""docs/config.md says of every option what the models say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
import yaml
from pydantic import BaseModel, Field, create_model

from asvp.config import Config, build_config, presets
from asvp.config.reference import reference, value_in_words

PAGE = Path(__file__).resolve().parents[2] / "docs" / "config.md"
ROW = re.compile(r"^\| `([\w.]+)` \| (.+?) \| `(.+?)` \| (.+?) \|$", flags=re.MULTILINE)


def documented() -> list[tuple[str, ...]]:
    """Option, value, default and meaning, as the page has them."""
    return ROW.findall(reference())


def options_of(values: dict[str, Any], path: str = "") -> list[str]:
    """Dotted names of a nested configuration. Mappings that are options are empty by default."""
    names = []
    for name, value in values.items():
        names += options_of(value, f"{path}{name}.") if isinstance(value, dict) and value else [path + name]
    return names


def test_the_page_is_what_the_models_say():
    assert PAGE.read_text(encoding="utf-8") == reference(), (
        "docs/config.md is out of date. Make it anew: python -m asvp.config.reference > docs/config.md"
    )


def test_every_option_has_one_row_and_a_meaning():
    names = [name for name, *_ in documented()]
    assert sorted(names) == sorted(options_of(Config().model_dump()))


def test_the_defaults_on_the_page_are_those_of_an_empty_configuration():
    for name, _, default, _ in documented():
        nested: Any = yaml.safe_load(default)
        for part in reversed(name.split(".")):
            nested = {part: nested}
        assert build_config(nested) == Config(), name


def test_every_preset_is_shown():
    for name, text in presets().items():
        assert f"### {name}\n\n```yaml\n{text.rstrip()}\n```\n" in reference()


@pytest.mark.parametrize(
    ("kind", "field", "words"),
    [
        (int, Field(ge=1), "whole number at least 1"),
        (float, Field(gt=0, lt=1), "number above 0, below 1"),
        (int | None, Field(le=9), "whole number at most 9 or `null`"),
        (Annotated[float, Field(gt=0)] | Literal["auto"], Field(), "number above 0 or `auto`"),
        (list[Annotated[int, Field(ge=2)]] | None, Field(), "list of: whole number at least 2 or `null`"),
        (Literal["a", "b", "c"], Field(), "`a`, `b` or `c`"),
        (bool, Field(), "`true` or `false`"),
        (dict[str, Any], Field(), "mapping"),
        (str | int | None, Field(), "text, whole number or `null`"),
    ],
)
def test_types_and_bounds_in_words(kind: Any, field: Any, words: str):
    model: type[BaseModel] = create_model("Section", option=(kind, field))
    assert value_in_words(model.model_fields["option"]) == words


def test_a_constraint_without_words_is_an_error_not_a_gap():
    model: type[BaseModel] = create_model("Section", option=(int, Field(multiple_of=8)))
    with pytest.raises(TypeError, match="multiple_of=8"):
        value_in_words(model.model_fields["option"])
