"""results.parquet while a sweep runs: soon after a round, and seldom enough."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from standing_clock import Clock

from asvp.config import build_config
from asvp.files import write_atomically
from asvp.tune_spaces import current_results
from asvp.tune_spaces.current_results import FEWEST_SECONDS, SHARE, CurrentResults
from asvp.tune_spaces.space import Trial


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(current_results.time, "monotonic", clock)
    return clock


def begun(out: Path, *names: str) -> CurrentResults:
    config = build_config({"mode": "svp"})
    trials = [Trial(name, 0, config) for name in names]
    for trial in trials:
        (out / "runs" / trial.name).mkdir(parents=True)
    return CurrentResults(out, trials, {trial.name: config for trial in trials}, write_atomically)


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
    finish_rounds(tmp_path, "a-seed0", 1)
    results.news_of("a-seed0")
    results.write_if_due()
    assert rows(tmp_path) == {"a-seed0": 1}
    finish_rounds(tmp_path, "a-seed0", 3)
    finish_rounds(tmp_path, "b-seed0", 1)
    results.news_of("a-seed0")
    results.write_if_due()
    assert rows(tmp_path) == {"a-seed0": 1}
    clock.pass_(FEWEST_SECONDS)
    results.write_if_due()
    # Only what was told is read again.
    assert rows(tmp_path) == {"a-seed0": 3}
    assert results.write(whole=True) == {}
    assert rows(tmp_path) == {"a-seed0": 3, "b-seed0": 1}


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
    results.news_of("a-seed0")
    for _ in range(200):
        clock.pass_(1.0)
        results.write_if_due()
    assert len(written) > 2
    assert all(later - earlier >= 2.0 / SHARE for earlier, later in pairwise(written))


def test_a_trial_that_cannot_be_read_is_told_and_the_others_are_there(tmp_path: Path) -> None:
    results = begun(tmp_path, "a", "b")
    finish_rounds(tmp_path, "a-seed0", 2)
    (tmp_path / "runs" / "b-seed0" / "rounds.jsonl").write_text("nonsense\n")
    unread = results.write(whole=True)
    assert list(unread) == ["b-seed0"]
    assert "line 1 is cut short or damaged" in unread["b-seed0"]
    assert rows(tmp_path) == {"a-seed0": 2}
