"""docs/config.md, made from the models: `python -m asvp.config.reference > docs/config.md`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from asvp.config.budget import format_budget, labels_by_round, parse_budget
from asvp.config.load import presets
from asvp.config.options import Config

_BEGINNING = """\
# Configuration

Every option of a run: what it may be, what it is where you say nothing, and what it means. This page is made from the
models in `pipeline/config/options.py`; change it there, then run `python -m asvp.config.reference > docs/config.md`.

A configuration is a YAML file or the name of a [preset](#presets). Options that are left out keep their defaults.

```yaml
# mine.yaml
data: {pool: data/pool.parquet, test: data/test.parquet, text: body, label: topic}
encoder: {max_length: 128}
budget: 300+200x6
mode: asvp
```

`-s` changes single options by their dotted name. The value is read as YAML, but where an option takes text, it needs no
quotation marks: `010`, `yes` and `a: b` are that text. Marks around all of it are those of YAML, as in
`-s 'data.id="null"'`:

```
asvp check mine.yaml -s encoder.max_length=32 -s 'proxy.hidden=[256, 256]' -s refresh.threshold=null
asvp run mine.yaml -s seed=1
```

An unknown option, a value out of bounds and options that contradict each other end a command with status 2 before any
work is done, and the message names option, value and mend. What is set to another value than its default and has no
part in what is to be done, such as `refresh.at` with another policy than `at`, is told of by `asvp check`, `run` and
`sweep`; in a sweep if it has none in any arm. A run saves its whole configuration, defaults included, as `config.yaml`.
"""

_BUDGET = """\
How many labels each round buys, as text or as a list of whole numbers. Rounds are joined by `+`; `x` repeats one.
Every round buys at least one label.
"""
_BUDGETS: tuple[str | int | list[int], ...] = ("300+200x6", "100+100x3", "50+100x2+400", 500, [300, 200, 200])

_PRESETS = "A preset is used by its name in place of a file, and changed with `-s` like one.\n"

_KINDS = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", dict: "mapping", Any: "any"}
_BAR = r"\|"
"""A bar inside a cell of a table."""
_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}


def reference() -> str:
    """The page of all options, as Markdown that ends with a newline."""
    return "\n".join([_BEGINNING, *_options(Config, ()), *_budgets(), *_presets()])


def _options(model: type[BaseModel], path: tuple[str, ...]) -> Iterator[str]:
    """The options of a section in a table, then its own sections, each under a heading."""
    yield f"## `{'.'.join(path)}`\n" if path else "## The run\n"
    yield f"{(model.__doc__ or '').strip()}\n"
    sections = {name: inner for name, field in model.model_fields.items() if (inner := _section(field)) is not None}
    yield "| option | value | default | meaning |\n|---|---|---|---|"
    for name, field in model.model_fields.items():
        if name not in sections:
            key = ".".join([*path, name])
            yield _row(f"`{key}`", value_in_words(field), _default(field), field.description or "")
    yield ""
    for name, inner in sections.items():
        yield from _options(inner, (*path, name))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |"


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def value_in_words(field: FieldInfo) -> str:
    """What an option may be, for example `whole number at least 1 or null`, in Markdown.

    Raises
    ------
    TypeError
        If a number is constrained in a way that this page has no words for.
    """
    return _value(field.annotation, field.metadata)


def _value(kind: Any, constraints: Iterable[Any] = ()) -> str:
    if _is_budget(constraints):
        return "[budget](#budget)"
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return _value(inner[0], [one for part in inner[1:] for one in getattr(part, "metadata", [part])])
    if origin is Literal:
        return _either([f"`{_text(value)}`" for value in inner])
    if origin in (Union, UnionType):
        return _either([_value(one, constraints) for one in inner])
    if origin is list:
        return f"list of: {_value(inner[0])}"
    if kind is NoneType:
        return "`null`"
    name = _KINDS[origin or kind]
    return f"{name}{_bounds(constraints)}" if kind in (int, float) else name


def _either(phrases: list[str]) -> str:
    return " or ".join([", ".join(phrases[:-1]), phrases[-1]]) if len(phrases) > 1 else phrases[0]


def _bounds(constraints: Iterable[Any]) -> str:
    """For example ` above 0, below 1`; what a validator wants is left to the option's description."""
    said = []
    for constraint in constraints:
        bounds = {words: getattr(constraint, name, None) for name, words in _BOUNDS.items()}
        found = [f"{words} {bound}" for words, bound in bounds.items() if bound is not None]
        if not found and not hasattr(constraint, "func"):
            raise TypeError(f"no words for the constraint {constraint!r}")
        said += found
    return f" {', '.join(said)}" if said else ""


def _is_budget(constraints: Iterable[Any]) -> bool:
    return any(getattr(constraint, "func", None) is parse_budget for constraint in constraints)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "none: must be given"
    value = field.get_default(call_default_factory=True)
    return f"`{format_budget(value) if _is_budget(field.metadata) else _text(value)}`"


def _text(value: Any) -> str:
    """A value as it is written in a configuration, on one line."""
    return yaml.safe_dump(value, default_flow_style=True, width=10_000).removesuffix("\n").removesuffix("\n...")


def _budgets() -> Iterator[str]:
    """The forms of a budget, with the labels they buy."""
    yield f"## Budget\n\n{_BUDGET}"
    yield "| written as | labels bought in each round | labels at its end |\n|---|---|---|"
    for budget in _BUDGETS:
        rounds = parse_budget(budget)
        yield _row(f"`{budget}`", _listed(rounds), _listed(labels_by_round(rounds)))
    yield ""


def _listed(numbers: Iterable[int]) -> str:
    return ", ".join(str(number) for number in numbers)


def _presets() -> Iterator[str]:
    """The texts of the presets."""
    yield f"## Presets\n\n{_PRESETS}"
    yield "\n".join(f"### {name}\n\n```yaml\n{text.rstrip()}\n```\n" for name, text in presets().items())


if __name__ == "__main__":
    print(reference(), end="")
