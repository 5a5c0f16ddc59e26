"""report.html while a sweep runs: after the first rounds, seldom enough, and no reason for a sweep to end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from standing_clock import Clock

from asvp.config import build_config
from asvp.folders import mark
from asvp.holds import held
from asvp.progress import SilentReporter
from asvp.report.status_files import write_planned
from asvp.tune_spaces import current_page
from asvp.tune_spaces.current_page import FEWEST_SECONDS, SHARE, CurrentPage
from asvp.tune_spaces.current_results import CurrentResults
from asvp.tune_spaces.live import LiveTable
from asvp.tune_spaces.space import Trial

RELOADS = 'name="asvp-reload"'


class Begun:
    """A sweep of two trials that is at work, with its page."""

    def __init__(self, out: Path, hold: Any) -> None:
        self.out, self.said = out, []
        config = build_config({"mode": "svp", "budget": "10x3"})
        trials = [Trial(name, 0, config) for name in ("a", "b")]
        write_planned(out, [trial.planned for trial in trials])
        self.results = CurrentResults(out, trials, {trial.name: config for trial in trials}, hold.write)
        self.table = LiveTable(out, SilentReporter())
        self.page = CurrentPage(out, hold, self.results, self.table, self.said.append)

    def finish_rounds(self, name: str, count: int) -> None:
        rounds = [
            {"round": number, "labelled": 10 * number + 10, "final_accuracy": 0.5, "seconds": {}}
            for number in range(count)
        ]
        folder = self.out / "runs" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "rounds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rounds))
        self.table.round(name, rounds[-1])
        self.results.news_of(name)
        self.results.write()

    def step(self) -> None:
        """As time passes in a sweep, with the page drawn at the end."""
        self.page.write_if_due()
        for thread in threading.enumerate():
            if thread.name == "asvp page":
                thread.join()

    @property
    def text(self) -> str:
        return (self.out / "report.html").read_text()

    def trials(self) -> dict[str, tuple[str, int, str]]:
        data = json.loads(self.text.split('id="data">')[1].split("</script>")[0])
        return {one["arm"]: (one["state"], one["rounds"], one["reason"]) for one in data["trials"]}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(current_page.time, "monotonic", clock)
    return clock


@pytest.fixture
def begun(tmp_path: Path, clock: Clock) -> Iterator[Begun]:
    out = tmp_path / "sweep"
    out.mkdir()
    with held(out, out) as hold:
        mark(out, "sweep", "0")
        yield Begun(out, hold)


def test_the_page_is_there_after_the_first_round_and_follows_at_most_once_a_minute(begun: Begun, clock: Clock) -> None:
    begun.step()
    assert not (begun.out / "report.html").exists()
    begun.finish_rounds("a-seed0", 1)
    begun.step()
    assert begun.trials() == {"a": ("at work", 1, ""), "b": ("waiting", 0, "")}
    assert RELOADS in begun.text
    begun.finish_rounds("a-seed0", 2)
    begun.table.ended("b-seed0", "memory ran out")
    clock.pass_(FEWEST_SECONDS - 1)
    begun.step()
    assert begun.trials()["a"][1] == 1
    clock.pass_(1)
    begun.step()
    assert begun.trials() == {"a": ("at work", 2, ""), "b": ("failed", 0, "memory ran out")}
    assert begun.said == []


def test_nothing_is_read_or_written_without_news(begun: Begun, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    begun.finish_rounds("a-seed0", 1)
    begun.finish_rounds("b-seed0", 1)
    begun.step()
    read = []
    whole = current_page.run_record
    monkeypatch.setattr(current_page, "run_record", lambda one, folder: read.append(one.trial) or whole(one, folder))
    before = (begun.out / "report.html").stat().st_mtime_ns
    clock.pass_(FEWEST_SECONDS)
    begun.step()
    assert (begun.out / "report.html").stat().st_mtime_ns == before
    begun.finish_rounds("b-seed0", 2)
    begun.step()
    assert read == ["b-seed0"]
    assert begun.trials()["b"][1] == 2


def test_a_page_that_takes_long_is_written_seldom(begun: Begun, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(current_page.time, "thread_time", lambda: 6.0)
    written = []
    monkeypatch.setattr(begun.page, "_put", lambda page: written.append(clock.now))
    for count in range(1, 20):
        begun.finish_rounds("a-seed0", count)
        begun.step()
        clock.pass_(FEWEST_SECONDS)
    assert len(written) > 2
    assert all(later - earlier >= 6.0 / SHARE for earlier, later in pairwise(written))


def test_what_goes_wrong_is_said_once_and_is_no_error(begun: Begun, clock: Clock) -> None:
    (begun.out / "report.html").write_text("somebody else's")
    for count in (1, 2):
        begun.finish_rounds("a-seed0", count)
        begun.step()
        clock.pass_(FEWEST_SECONDS)
    begun.page.end()
    (told,) = begun.said
    assert "report.html there was not written by asvp" in told
    assert begun.text == "somebody else's"


def test_at_its_end_the_page_no_longer_loads_itself_again(begun: Begun, clock: Clock) -> None:
    begun.finish_rounds("a-seed0", 1)
    begun.step()
    begun.page.end()
    assert RELOADS not in begun.text
    assert begun.trials()["a"][1] == 1
    begun.finish_rounds("a-seed0", 2)
    clock.pass_(FEWEST_SECONDS)
    begun.step()
    assert begun.trials()["a"][1] == 1
    assert begun.said == []
