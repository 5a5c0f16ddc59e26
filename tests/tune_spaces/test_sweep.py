"""A sweep: shared features, a failing trial that stops no other, and going on."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from tiny_runs import picks, tiny_config
from traces import booked, charged, checked, of_workers

from asvp.config import Config, build_config, merge
from asvp.driver.loop import run
from asvp.errors import AsvpError, ClusterError, RunDirectoryError
from asvp.progress import SilentReporter
from asvp.report.comparison import compare
from asvp.report.timeline import read_timeline
from asvp.tune_spaces.space import Space, Trial, trials
from asvp.tune_spaces.sweep import check_sweep, run_sweep
from asvp.tune_spaces.sweep import sweep as run_space

ARMS = {
    "random": {"selection": {"strategy": "random"}},
    "svp": {},
    # A learning rate at which the weights overflow, so that the refreshed features are not finite.
    "broken": {"mode": "asvp", "refresh": {"policy": "at", "at": [20]}, "training": {"lr": 1e30, "head_lr": 1e30}},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("tiny")
    # With the cache that users have.
    return tiny_config(folder, extraction={"cache": str(folder / "cache")})


def of(base: Config, *arms: str) -> list[Trial]:
    return list(trials(Space({arm: ARMS[arm] for arm in arms}, (0, 1)), base.model_dump()))


def sweep(chosen: list[Trial], out: Path, *, resume: bool = False) -> Any:
    return run_sweep(chosen, out, resume=resume, address=None, reporter=SilentReporter())


@pytest.fixture(scope="module")
def finished(ray_local: Any, base: Config, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return sweep(of(base, "random", "svp", "broken"), tmp_path_factory.mktemp("sweep") / "out")


def test_a_failing_trial_stops_no_other_and_is_told_with_its_reason(finished: Any) -> None:
    assert set(finished.failed) == {"broken-seed0", "broken-seed1"}
    assert all("not finite" in reason for reason in finished.failed.values())
    done = {path.parent.name for path in finished.directory.glob("runs/*/summary.json")}
    assert done == {"random-seed0", "random-seed1", "svp-seed0", "svp-seed1"}


def test_a_trial_picks_what_the_same_configuration_picks_alone(finished: Any, base: Config, tmp_path: Path) -> None:
    run(base.model_copy(update={"seed": 1}), out=tmp_path / "alone", in_process=True)
    assert picks(finished.directory / "runs" / "svp-seed1") == picks(tmp_path / "alone")


def test_results_hold_one_row_for_each_trial_and_round(finished: Any) -> None:
    table = pq.read_table(finished.directory / "results.parquet").to_pandas()
    counts = table[table["finished"]].groupby(["arm", "seed"])["round"].count()
    assert counts.to_dict() == {("random", 0): 3, ("random", 1): 3, ("svp", 0): 3, ("svp", 1): 3}
    assert set(table["config/budget"]) == {"[20, 10, 10]"}


def test_features_of_version_zero_are_charged_to_every_trial_and_made_once(finished: Any) -> None:
    fingerprints, saved = set(), []
    for name in ("random-seed0", "svp-seed0", "svp-seed1"):
        rounds = (finished.directory / "runs" / name / "rounds.jsonl").read_text().splitlines()
        first = json.loads(rounds[0])
        fingerprints.add(first["feature_fingerprint"])
        saved.append(first["saved_seconds"])
        # Random picks look at no features, so theirs are for the report alone.
        assert (first["seconds"]["extract"] > 0) == (not name.startswith("random"))
    assert len(fingerprints) == 1
    assert len(set(saved)) == 1
    assert saved[0] > 0


def test_the_timeline_shows_all_trials_and_sums_to_their_ledgers(finished: Any) -> None:
    timeline = read_timeline(finished.directory)
    assert timeline.notes == ()
    events = checked(json.dumps(timeline.trace))
    names = [f"{arm}-seed{seed}" for arm in ARMS for seed in (0, 1)]
    assert {one["args"]["trial"] for one in events} == {*names, "all trials"}
    for name in names[:4]:
        lines = (finished.directory / "runs" / name / "rounds.jsonl").read_text().splitlines()
        assert charged(events, name) == pytest.approx(booked([json.loads(line) for line in lines]), abs=1e-3)
    # `checked` has seen that no worker did two things at a time.
    workers = of_workers(events)
    shared = [one for found in workers.values() for one in found if one["args"]["trial"] == "all trials"]
    assert {one["name"] for one in shared} == {"extraction (pool)", "extraction (test)"}
    assert len({one["args"]["trial"] for found in workers.values() for one in found}) == 7


def test_the_comparison_tells_the_answer_and_draws_the_curves(finished: Any, tmp_path: Path) -> None:
    comparison = compare([finished.directory], tmp_path)
    assert {row["arm"] for row in comparison.arms.numbers} >= {"random", "svp"}
    assert comparison.verdict.text
    assert (tmp_path / "learning_curves.png").stat().st_size > 10_000


def test_a_sweep_goes_on_where_it_was_and_keeps_what_was_done(finished: Any, base: Config, tmp_path: Path) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished.directory, out)
    shutil.rmtree(out / "runs" / "svp-seed1")
    before = (out / "runs" / "svp-seed0" / "rounds.jsonl").read_bytes()
    result = sweep(of(base, "random", "svp"), out, resume=True)
    assert result.failed == {}
    assert (out / "runs" / "svp-seed0" / "rounds.jsonl").read_bytes() == before
    assert set(pq.read_table(out / "results.parquet")["finished"].to_pylist()) == {True}
    assert picks(out / "runs" / "svp-seed1") == picks(finished.directory / "runs" / "svp-seed1")


def test_a_finished_sweep_goes_on_with_a_longer_budget_and_other_prices(
    finished: Any, base: Config, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished.directory, out)
    changes = {"budget": [*base.budget, 5], "cost": {"per_label": 1.0}, "workers": {"count": 1, "cpus": 1}}
    longer = build_config(merge(base.model_dump(mode="json"), changes))
    result = sweep(of(longer, "random", "svp"), out, resume=True)
    assert result.failed == {}
    for name in ("random-seed0", "svp-seed1"):
        assert len(picks(out / "runs" / name)) == sum(base.budget) + 5
        assert picks(out / "runs" / name)[:-5] == picks(finished.directory / "runs" / name)
    table = result.to_pandas()
    assert set(table["finished"]) == {True}
    assert set(table.groupby("trial")["labelled"].max()) == {sum(base.budget) + 5}


def test_a_sweep_from_python_leaves_its_page_and_tells_what_it_says(
    finished: Any, base: Config, tmp_path: Path
) -> None:
    out = tmp_path / "again"
    shutil.copytree(finished.directory, out)
    space = Space({arm: ARMS[arm] for arm in ("random", "svp", "broken")}, (0, 1))
    # As it was begun, with the final model that each arm was given.
    begun = build_config(base.model_dump(mode="json"))
    result = run_space(space, begun, out=out, resume=True, reporter=SilentReporter())
    assert set(result.failed) == {"broken-seed0", "broken-seed1"}
    assert result.comparison is not None
    assert result.comparison.files[-1] == out / "report.html"
    page = (out / "report.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["answer"]["text"] == result.comparison.verdict.text == result.report().verdict.text
    failed = [one for one in data["trials"] if one["arm"] == "broken"]
    assert [one["state"] for one in failed] == ["failed", "failed"]
    assert all("not finite" in one["reason"] for one in failed)
    # One call began it, one went on.
    assert [len(one["calls"]) for one in data["repeat"]["commands"]] == [2]
    assert 'name="asvp-reload"' not in page


def test_a_directory_in_use_is_refused_before_work(finished: Any, base: Config, tmp_path: Path) -> None:
    with pytest.raises(RunDirectoryError, match="not empty"):
        sweep(of(base, "svp"), finished.directory)
    with pytest.raises(RunDirectoryError, match="no sweep to resume"):
        sweep(of(base, "svp"), tmp_path, resume=True)


def test_a_folder_of_others_is_no_sweep_and_is_left_as_it_is(base: Config, tmp_path: Path) -> None:
    (tmp_path / "runs" / "svp-seed0").mkdir(parents=True)
    (tmp_path / "results.parquet").write_text("mine")
    (tmp_path / "runs" / "svp-seed0" / "labelled.parquet").write_text("mine")
    for going_on in (True, False):
        with pytest.raises(RunDirectoryError, match=r"no sweep to resume|not empty"):
            sweep(of(base, "svp"), tmp_path, resume=going_on)
    assert (tmp_path / "results.parquet").read_text() == "mine"
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "results.parquet"}


def test_a_sweep_of_an_earlier_version_which_has_no_marker_can_be_checked(finished: Any, base: Config) -> None:
    marker = finished.directory / ".asvp.json"
    content = marker.read_bytes()
    marker.unlink()
    prepared = check_sweep(of(base, "svp"), finished.directory, resume=True)
    marker.write_bytes(content)
    assert set(prepared) == {"svp-seed0", "svp-seed1"}


def test_a_sweep_goes_on_with_what_it_was_begun_with(finished: Any, base: Config) -> None:
    other = base.model_copy(update={"budget": [20, 10]})
    with pytest.raises(RunDirectoryError, match="budget"):
        sweep(of(other, "svp"), finished.directory, resume=True)


@pytest.mark.parametrize(
    "arguments",
    [{"space": 5}, {"config": {"seed": 1}}, {"out": ""}, {"out": "a" * 256}, {"seeds": "01"}, {"resume": True}],
)
def test_arguments_of_a_sweep_that_are_none_are_refused(
    arguments: dict[str, Any], base: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AsvpError):
        run_space(**{"space": Space({"svp": {}}), "config": base, **arguments})
    assert list(tmp_path.iterdir()) == []


def test_a_team_that_no_node_can_hold_is_refused_before_anything_is_written(
    ray_local: Any, base: Config, tmp_path: Path
) -> None:
    space = Space({"svp": {}, "large": {"training": {"devices": 64}}}, (0,))
    with pytest.raises(ClusterError, match=r"training\.devices: no node has so many.*\(got 64\)"):
        sweep(list(trials(space, base.model_dump())), tmp_path / "out")
    assert not (tmp_path / "out").exists()
