"""Runs of MLflow without a server: a data base in the sweep directory, which MLflow's own client reads."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from recording import Told
from tiny_runs import tiny_config

from asvp.errors import ConfigError
from asvp.holds import held
from asvp.tune_spaces.loggers.opening import open_loggers
from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.trial import LoggedTrial
from asvp.tune_spaces.space import Space, trials
from asvp.tune_spaces.sweep import run_sweep

mlflow = pytest.importorskip("mlflow")
pytest.importorskip("sqlalchemy")
pytest.importorskip("alembic")

TRIAL = LoggedTrial("svp-seed1", "svp", 1, {"mode": "svp", "proxy.lr": 0.5})
PROXY = [Point("accuracy/proxy", 20, 0.5), Point("accuracy/proxy", 30, 0.625)]
FINAL = [Point("accuracy/final", 20, 0.75)]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings of this machine, and nothing is sent anywhere."""
    for name in list(os.environ):
        if name.startswith("MLFLOW_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DO_NOT_TRACK", "true")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@contextmanager
def logged(out: Path, said: list[str] | None = None) -> Iterator[Any]:
    from asvp.tune_spaces.loggers.mlflow_runs import MLflowRuns

    runs = MLflowRuns(out, ([] if said is None else said).append)
    try:
        yield runs
    finally:
        runs.close()


def read(out: Path) -> Any:
    """MLflow's client, and the runs of the only experiment that is not its own."""
    client = mlflow.MlflowClient(f"sqlite:///{out / 'mlflow.db'}")
    [experiment] = [one for one in client.search_experiments() if one.name != "Default"]
    assert experiment.name == out.name
    return client, {run.info.run_name: run for run in client.search_runs([experiment.experiment_id])}


def history(client: Any, run: Any, name: str) -> list[tuple[int, float]]:
    return [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, name)]


def test_a_run_has_points_at_their_labels_parameters_and_its_end_and_goes_on_in_a_later_process(
    tmp_path: Path,
) -> None:
    said: list[str] = []
    before = dict(os.environ)
    with logged(tmp_path, said) as runs:
        assert runs.holds(TRIAL, PROXY) == set()
        runs.write(TRIAL, PROXY)
    assert said == [f"MLflow: runs go to sqlite:///{tmp_path / 'mlflow.db'}"]
    with logged(tmp_path) as runs:
        assert runs.holds(TRIAL, [*PROXY, *FINAL]) == {point.key for point in PROXY}
        runs.write(TRIAL, FINAL)
        runs.ended(TRIAL, failed=False)
        runs.ended(LoggedTrial("never-begun", "never", 0), failed=True)
    assert dict(os.environ) == before
    client, found = read(tmp_path)
    assert set(found) == {TRIAL.name}
    run = found[TRIAL.name]
    assert history(client, run, "accuracy/proxy") == [(20, 0.5), (30, 0.625)]
    assert history(client, run, "accuracy/final") == [(20, 0.75)]
    assert run.data.params == {"arm": "svp", "seed": "1", "mode": "svp", "proxy.lr": "0.5"}
    assert run.data.tags["asvp_sweep"] == str(tmp_path)
    assert run.info.status == "FINISHED"
    assert list((tmp_path / "here").iterdir()) == []


def test_a_server_that_does_not_answer_is_said_before_work_and_soon(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    said: list[str] = []
    with held(tmp_path, tmp_path) as hold, pytest.raises(ConfigError, match="mlflow cannot begin: "):
        open_loggers(["mlflow"], [], {}, tmp_path, hold, [], said.append)
    assert said == ["MLflow: runs go to http://127.0.0.1:9"]
    assert "MLFLOW_HTTP_REQUEST_TIMEOUT" not in os.environ


def test_a_sweep_is_logged(ray_local: Any, tmp_path: Path) -> None:
    base = tiny_config(tmp_path / "here", training={"method": "lp", "keep": "none"})
    chosen = list(trials(Space({"svp": {}, "random": {"selection": {"strategy": "random"}}}, (0,)), base.model_dump()))
    out, told = tmp_path / "out", Told()
    result = run_sweep(chosen, out, resume=False, address=None, reporter=told, log=("mlflow",))
    assert result.failed == {}
    assert not any("nothing more is logged" in line for line in told.lines)
    assert not (out / "tensorboard").exists()
    client, found = read(out)
    assert set(found) == {"svp-seed0", "random-seed0"}
    for name, run in found.items():
        [accuracy] = [accuracy for labels, accuracy in history(client, run, "accuracy/final") if labels == 40]
        table = result.to_pandas()
        [expected] = table[(table["trial"] == name) & (table["labelled"] == 40)]["final_accuracy"]
        assert accuracy == pytest.approx(expected)
        assert [labels for labels, _ in history(client, run, "accuracy/proxy")] == [20, 30, 40]
        assert run.info.status == "FINISHED"
