"""The table of a running sweep: what it shows, and lines where no table can be shown."""

from __future__ import annotations

import io
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from asvp.json_log import JsonReporter
from asvp.progress import NotebookReporter, PlainReporter, RichReporter, reporter_for
from asvp.report.status import Planned
from asvp.report.status_files import write_planned
from asvp.tune_spaces.live import LiveTable


@pytest.fixture
def out(tmp_path: Path) -> Path:
    write_planned(tmp_path, [Planned(f"svp-seed{seed}", "svp", seed, (20, 10)) for seed in (0, 1)])
    return tmp_path


def do_round(out: Path, trial: str, number: int, **more: Any) -> dict[str, Any]:
    """Write a round as a trial does, before it tells of it."""
    folder = out / "runs" / trial
    folder.mkdir(parents=True, exist_ok=True)
    one = {"round": number, "labelled": 20 + 10 * number, "seconds": {"proxy": 1.0}, "cost": {"total": 0.5}, **more}
    with (folder / "rounds.jsonl").open("a") as file:
        file.write(json.dumps(one) + "\n")
    return one


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_states_follow_what_trials_do(out: Path) -> None:
    table = LiveTable(out, PlainReporter(io.StringIO()))
    assert [row[-1] for row in table.table().rows] == ["waiting", "waiting"]
    table.started("svp-seed0")
    assert [row[-1] for row in table.table().rows] == ["running", "waiting"]
    table.round("svp-seed0", do_round(out, "svp-seed0", 0, proxy_accuracy=0.4))
    assert table.table().rows[0] == ("svp", "0", "1 of 2", "20", "proxy 0.400", "0", "0.00 CPU", "$0.50", "running")
    table.round("svp-seed0", do_round(out, "svp-seed0", 1, final_accuracy=0.6))
    table.ended("svp-seed0")
    table.ended("svp-seed1", "memory ran out")
    shown = table.table()
    assert [row[-1] for row in shown.rows] == ["finished", "failed"]
    assert shown.rows[0][4] == "0.600"
    assert "svp-seed1 failed: memory ran out" in shown.note
    assert shown.title.startswith("1 of 2 trials finished, 2 of 4 rounds")


def test_news_of_a_sweep_as_json_name_their_trial(out: Path) -> None:
    stream = io.StringIO()
    table = LiveTable(out, JsonReporter({"sweep": "here"}, stream))
    one = do_round(out, "svp-seed0", 0, logme=float("nan"))
    table.round("svp-seed0", one)
    table.ended("svp-seed1", "memory ran out")
    round_told, failed = (json.loads(line) for line in stream.getvalue().splitlines())
    assert datetime.fromisoformat(round_told.pop("time")).tzinfo == UTC
    assert round_told == {"event": "round", "sweep": "here", "trial": "svp-seed0", **one, "logme": None}
    assert (failed["event"], failed["trial"], failed["state"]) == ("message", "svp-seed1", "failed")
    assert failed["reason"] == "memory ran out"


def test_the_time_left_follows_the_pace_since_the_beginning(out: Path) -> None:
    do_round(out, "svp-seed0", 0)
    clock = Clock()
    table = LiveTable(out, PlainReporter(io.StringIO()), clock=clock)
    assert table.seconds_left() is None
    clock.now = 60.0
    table.round("svp-seed0", do_round(out, "svp-seed0", 1))
    # One round in 60 seconds, the one of before not counted; two are left.
    assert table.seconds_left() == pytest.approx(120)
    table.ended("svp-seed1", "lost")
    assert table.seconds_left() == 0


def test_without_a_terminal_there_are_lines_and_now_and_then_one_for_the_whole(out: Path) -> None:
    said, clock = io.StringIO(), Clock()
    table = LiveTable(out, PlainReporter(said), clock=clock)
    with table.shown():
        table.round("svp-seed0", do_round(out, "svp-seed0", 0))
        clock.now = 40.0
        table.round("svp-seed0", do_round(out, "svp-seed0", 1))
        table.ended("svp-seed1", "lost")
    assert said.getvalue().splitlines() == [
        "svp-seed0: round 0 · 20 labels · 1.0 s",
        "svp-seed0: round 1 · 30 labels · 1.0 s",
        "0 of 2 trials finished, 2 of 4 rounds, about 40 s left",
        "svp-seed1: failed; the others go on",
    ]


def test_on_a_terminal_the_table_is_kept_at_the_bottom_and_news_go_above_it(out: Path) -> None:
    screen = io.StringIO()
    reporter = RichReporter(Console(file=screen, force_terminal=True, width=120, height=30))
    table = LiveTable(out, reporter)
    with table.shown():
        table.started("svp-seed1")
        table.round("svp-seed0", do_round(out, "svp-seed0", 0))
        reporter.say("news")
    shown = screen.getvalue()
    assert "1 of 2" in shown
    assert "news" in shown
    assert "svp-seed0: round" not in shown


def test_in_a_notebook_the_table_is_drawn_below_the_cell(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[str] = []
    shell = type("ZMQInteractiveShell", (), {})()
    display = SimpleNamespace(update=drawn.append)
    module, inner = ModuleType("IPython"), ModuleType("IPython.display")
    module.get_ipython = lambda: shell  # type: ignore[attr-defined]
    inner.HTML = str  # type: ignore[attr-defined]
    inner.display = lambda html, display_id: drawn.append(html) or display  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", module)
    monkeypatch.setitem(sys.modules, "IPython.display", inner)
    reporter = reporter_for()
    assert isinstance(reporter, NotebookReporter)
    table = LiveTable(out, reporter)
    with table.shown():
        table.started("svp-seed0")
    assert "waiting" in drawn[0]
    assert drawn[-1].count("<tr>") == 3
    assert "running" in drawn[-1]
