"""results.parquet while a sweep runs: soon after a round, and seldom enough."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from standing_clock import Clock

from asvp.files import write_atomically
from asvp.report.results import TrialRounds
from asvp.tune_spaces import current_results
from asvp.tune_spaces.current_results import FEWEST_SECONDS, SHARE, CurrentResults


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(current_results.time, "monotonic", clock)
    return clock


def begun(out: Path, *names: str) -> CurrentResults:
    trials = {name: TrialRounds(name, name, 0, False, {"mode": "svp"}, ()) for name in names}
    for name in names:
        (out / "runs" / name).mkdir(parents=True)
    return CurrentResults(out, trials, write_atomically)


def finish_rounds(out: Path, name: str, count: int) -> None:
    rounds = [{"round": number, "labelled": 10 * number} for number in range(count)]
    (out / "runs" / name / "rounds.jsonl").write_text("".join(json.dumps(one) + "\n" for one in rounds))


def rows(out: Path) -> dict[str, int]:
    names = pq.read_table(out / "results.parquet", columns=["trial"])["trial"].to_pylist()
    return {name: names.count(name) for name in names}


def test_rounds_are_in_the_table_some_seconds_after_they_were_told(tmp_path: Path, clock: Clock) -> None:
    results = begun(tmp_path, "a", "b")
    results.write_if_due()
    clock.pass_(FEWEST_SECONDS)
    results.write_if_due()
    assert not (tmp_path / "results.parquet").exists()
    finish_rounds(tmp_path, "a", 1)
    results.news_of("a")
    results.write_if_due()
    assert rows(tmp_path) == {"a": 1}
    finish_rounds(tmp_path, "a", 3)
    finish_rounds(tmp_path, "b", 1)
    results.news_of("a")
    results.write_if_due()
    assert rows(tmp_path) == {"a": 1}
    clock.pass_(FEWEST_SECONDS)
    results.write_if_due()
    # Only what was told is read again.
    assert rows(tmp_path) == {"a": 3}
    assert results.write(whole=True) == {}
    assert rows(tmp_path) == {"a": 3, "b": 1}


def test_a_table_that_takes_long_is_written_seldom(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = begun(tmp_path, "a")
    written = []

    def slowly(**_: bool) -> dict[str, str]:
        written.append(clock.now)
        clock.pass_(2.0)
        return {}

    monkeypatch.setattr(results, "write", slowly)
    results.news_of("a")
    for _ in range(200):
        clock.pass_(1.0)
        results.write_if_due()
    assert len(written) > 2
    assert all(later - earlier >= 2.0 / SHARE for earlier, later in pairwise(written))


def test_a_trial_that_cannot_be_read_is_told_and_the_others_are_there(tmp_path: Path) -> None:
    results = begun(tmp_path, "a", "b")
    finish_rounds(tmp_path, "a", 2)
    (tmp_path / "runs" / "b" / "rounds.jsonl").write_text("nonsense\n")
    unread = results.write(whole=True)
    assert list(unread) == ["b"]
    assert "line 1 is cut short or damaged" in unread["b"]
    assert rows(tmp_path) == {"a": 2}
