"""Names of loggers, and what they need."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import asvp
from asvp.cli.app import cli
from asvp.errors import ConfigError, StorageError
from asvp.folders import mark
from asvp.tune_spaces.loggers.names import DEFAULT, require_loggers
from asvp.tune_spaces.space import Space


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> None:
    """No package of another logger is installed."""
    found = importlib.util.find_spec

    def find(name: str, package: str | None = None) -> object:
        return None if name in ("mlflow", "wandb") else found(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", find)


def test_names_stand_for_loggers_each_once() -> None:
    assert require_loggers(DEFAULT) == ("tensorboard",)
    assert require_loggers("tensorboard") == ("tensorboard",)
    assert require_loggers(["tensorboard", "tensorboard"]) == ("tensorboard",)
    assert require_loggers(["none"]) == ()
    assert require_loggers([]) == ()


def test_an_unknown_name_is_refused_with_the_nearest_one() -> None:
    with pytest.raises(
        ConfigError, match=r"^log: is no logger \(got 'tensorbord'\)\. Did you mean tensorboard\? Choose among"
    ):
        require_loggers(["tensorbord"])
    with pytest.raises(ConfigError, match="none is no logger beside others"):
        require_loggers(["none", "tensorboard"])


@pytest.mark.parametrize("name", ["mlflow", "wandb"])
@pytest.mark.usefixtures("without")
def test_a_missing_package_is_named_with_the_command_that_installs_it(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"needs the package {name}.*pip install 'asvp\[{name}\]'"):
        require_loggers([name])


def test_a_folder_that_is_called_as_a_package_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "wandb").mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, "wandb", raising=False)
    with pytest.raises(ConfigError, match="needs the package wandb"):
        require_loggers(["wandb"])


def test_mlflow_needs_a_data_base_only_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found("json" if name != "sqlalchemy" else "nothing"))
    with pytest.raises(ConfigError, match="needs the package sqlalchemy"):
        require_loggers(["mlflow"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://server")
    assert require_loggers(["mlflow"]) == ("mlflow",)


@pytest.mark.usefixtures("without")
def test_a_sweep_refuses_them_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="log: is no logger"):
        asvp.sweep(Space({"svp": {}}), out=tmp_path / "out", log=["tensorbord"])
    for words in (["--log", "mlflow"], ["--log", "mlflow", "--dry-run"]):
        done = CliRunner().invoke(cli, ["sweep", "svp_vs_asvp", "demo", "--out", "out", *words])
        assert isinstance(done.exception, ConfigError)
        assert str(done.exception).startswith("--log: needs the package mlflow")
    assert not (tmp_path / "out").exists()


def test_the_command_that_goes_on_has_the_loggers_and_without_any_it_is_tensorboard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, ...]] = []

    def full(*_: object, out: Path, log: tuple[str, ...], **__: object) -> None:
        asked.append(log)
        out.mkdir(exist_ok=True)
        mark(out, "sweep", asvp.__version__)
        raise StorageError("the disk is full")

    monkeypatch.setattr("asvp.tune_spaces.sweep.sweep", full)
    words = ["sweep", "svp_vs_asvp", "demo", "--out", str(tmp_path / "out")]
    done = CliRunner().invoke(cli, [*words, "--log", "none"])
    assert f"asvp sweep svp_vs_asvp demo --log none --out {tmp_path / 'out'} --resume" in str(done.exception)
    assert "--log" not in str(CliRunner().invoke(cli, words).exception)
    assert asked == [("none",), ("tensorboard",)]
