"""The documentation's examples run, and its tables name every strategy, wrapper and option as they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from asvp.selection import strategies, wrappers

DOCS = Path(__file__).parents[2] / "docs"


def table_rows(text: str) -> dict[str, str]:
    return {match[1]: match[0] for match in re.finditer(r"^\| `(\w+)` .*$", text, flags=re.MULTILINE)}


def section(page: str, title: str) -> str:
    return (DOCS / page).read_text().split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_examples_of_the_selection_page_print_what_they_say(capsys):
    text = (DOCS / "selection.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    exec("\n".join(blocks), {})
    expected = [line.rsplit("# ", 1)[1] for block in blocks for line in block.splitlines() if line.startswith("print")]
    assert capsys.readouterr().out.splitlines() == expected


def test_every_strategy_has_a_row_with_its_inputs_and_options():
    rows = table_rows(section("strategies.md", "All strategies"))
    for name, info in strategies().items():
        cells = [cell.strip() for cell in rows[name].split("|")[3:-1]]
        inputs = [f"features ({info.representation})" if key == "features" else key for key in info.inputs]
        assert cells[0] == ", ".join(inputs), name
        assert (cells[1] == "yes") == info.cold_start, name
        assert (cells[2] == "yes") == info.sharded, name
        if not cells[3].startswith("as "):
            assert re.findall(r"`(\w+)`", cells[3]) == list(info.options.model_fields), name


def test_every_strategy_has_a_row_with_its_cost():
    rows = table_rows(section("strategies.md", "What each costs"))
    for name, info in strategies().items():
        operations, memory = (cell.strip() for cell in rows[name].split("|")[2:4])
        assert info.complexity in (f"time {operations}, memory {memory}", f"time {operations}; memory {memory}")


@pytest.mark.parametrize("name", list(wrappers()))
def test_every_wrapper_has_a_row_with_its_cost_and_options(name):
    row = table_rows(section("selection.md", "Wrappers"))[name]
    assert row.split("|")[3].strip() == wrappers()[name].complexity
    assert re.findall(r"`(\w+)`", row.split("|")[-2]) == list(wrappers()[name].options.model_fields)
