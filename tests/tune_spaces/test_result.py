"""What a sweep leaves can be asked in Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from asvp.config import build_config
from asvp.errors import DataError
from asvp.report.results import TrialRounds, write_results
from asvp.report.status import Planned
from asvp.report.status_files import write_planned
from asvp.tune_spaces.result import SweepResult


def rounds(finals: list[float | None], dollars: float) -> tuple[dict[str, Any], ...]:
    other = {"proxy_accuracy": 0.5, "cost": {"total": dollars}}
    return tuple({"round": i, "labelled": 20 + 10 * i, "final_accuracy": one, **other} for i, one in enumerate(finals))


@pytest.fixture
def result(tmp_path: Path) -> SweepResult:
    trials = {
        ("svp", 0): (True, [None, 0.60], 1.0),
        ("svp", 1): (True, [None, 0.62], 1.0),
        ("asvp", 0): (True, [0.58, 0.64], 2.0),
        ("asvp", 1): (False, [0.99], 2.0),
    }
    write_planned(tmp_path, [Planned(f"{arm}-seed{seed}", arm, seed, (20, 10)) for arm, seed in trials])
    config = build_config({}).model_dump(mode="json")
    written = [
        TrialRounds(f"{arm}-seed{seed}", arm, seed, finished, config, rounds(finals, dollars))
        for (arm, seed), (finished, finals, dollars) in trials.items()
    ]
    write_results(written, tmp_path / "results.parquet")
    return SweepResult(tmp_path, {"asvp-seed1": "memory ran out"})


def test_the_best_arm_is_that_of_the_finished_trials_ends_or_of_a_label_count(result: SweepResult) -> None:
    assert result.best() == "asvp"
    assert result.best(at=30) == "asvp"
    assert result.best(at=20) == "asvp"
    assert result.best("cost/total", mode="min") == "svp"


def test_a_metric_that_nobody_tells_is_named_with_where_it_was(result: SweepResult) -> None:
    for metric in ("accuracy", "arm"):
        with pytest.raises(DataError, match="no column of numbers"):
            result.best(metric)
    with pytest.raises(DataError, match=r"nowhere at 25 labels.*It was at 20, 30 labels"):
        result.best(at=25)


def test_trials_and_rounds_are_tables(result: SweepResult) -> None:
    assert len(result.to_pandas()) == 7
    table = pd.DataFrame(result.trials)
    assert table["trial"].tolist() == ["svp-seed0", "svp-seed1", "asvp-seed0", "asvp-seed1"]
    assert {"state", "rounds", "final_accuracy", "dollars"} <= set(table.columns)
    assert "<table>" in result._repr_html_()


def test_a_report_is_of_the_same_trials_and_shows_in_a_notebook(result: SweepResult) -> None:
    report = result.report()
    assert {row["arm"] for row in report.arms.numbers} == {"svp", "asvp"}
    assert report.verdict.text in report._repr_html_()


def test_a_sweep_of_which_nothing_was_finished_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no trial has finished a round"):
        SweepResult(tmp_path, {}).to_pandas()


def test_a_page_that_cannot_be_written_is_said_and_the_answer_is_there(result: SweepResult, tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("mine")
    said: list[str] = []
    reported = result.reported(said.append)
    assert reported.comparison is not None
    assert reported.comparison.files == ()
    assert len(said) == 1
    assert (tmp_path / "report.html").read_text() == "mine"


def test_a_sweep_of_which_nothing_was_finished_has_no_comparison(tmp_path: Path) -> None:
    said: list[str] = []
    assert SweepResult(tmp_path, {"a-seed0": "lost"}).reported(said.append).comparison is None
    assert len(said) == 1
