"""A run at a URI is the run that it is in a folder, also killed, resumed elsewhere, and left without its store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import fsspec
import pytest
from click.testing import CliRunner
from forked import Forked
from same_runs import assert_same
from tiny_runs import picks, tiny_config

from asvp.cli.app import cli
from asvp.config import Config
from asvp.driver.loop import RunResult, run
from asvp.errors import RunDirectoryError, StorageError
from asvp.remote import lease
from asvp.report.comparison import compare

MORTAL = Path(__file__).parents[1] / "mortal_run.py"
_TIMED = ("seconds", "device_seconds", "cost", "sampling_seconds", "training_seconds", "saved", "saved_seconds")


@pytest.fixture(scope="module")
def config(folder: Path) -> Config:
    return tiny_config(folder, mode="asvp", refresh={"policy": "at", "at": [20]}, report={"rows": False})


@pytest.fixture(scope="module")
def local(config: Config, folder: Path) -> RunResult:
    return run(config, out=folder / "local", in_process=True)


def fetched(uri: str, to: Path) -> Path:
    """All that lies at a URI, in a folder."""
    filesystem, base = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    shutil.rmtree(to, ignore_errors=True)
    filesystem.get(f"{base}/", f"{to}/", recursive=True)
    return to


def untimed(rounds: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in one.items() if key not in _TIMED} for one in rounds]


def read_rounds(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "rounds.jsonl").read_text().splitlines()]


def test_a_run_in_a_bucket_is_that_in_a_folder_and_is_looked_at_from_there(
    bucket: str, config: Config, local: RunResult, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = run(config, out=f"{bucket}/first", in_process=True)
    assert result.directory == f"{bucket}/first"
    out = fetched(f"{bucket}/first", tmp_path / "fetched")
    assert (out / "labelled.parquet").read_bytes() == (folder / "local" / "labelled.parquet").read_bytes()
    assert untimed(read_rounds(out)) == untimed(local.rounds)
    here, there = (
        {path.relative_to(one) for path in one.rglob("*") if path.is_file()} for one in (folder / "local", out)
    )
    assert there - here == {Path("checkpoint") / lease.HELD}
    assert here <= there
    assert (out / "model" / "head.safetensors").read_bytes() == (folder / "local/model/head.safetensors").read_bytes()
    assert "round 2" in (out / "run.log").read_text()
    with pytest.raises(RunDirectoryError, match="holds a run already") as caught:
        run(config, out=f"{bucket}/first", in_process=True)
    assert caught.value.value == f"{bucket}/first"
    again = run(config, out=f"{bucket}/first", in_process=True, resume=True)
    assert again.rounds == result.rounds
    status = CliRunner().invoke(cli, ["status", f"{bucket}/first", "--json"])
    found = json.loads(status.stdout)
    assert (found["directory"], found["at_work"], found["states"]) == (f"{bucket}/first", False, {"finished": 1})
    monkeypatch.chdir(tmp_path)
    status = CliRunner().invoke(cli, ["status", f"{bucket}/first", "--timeline"])
    assert f"jobs: {tmp_path / 'timeline.json'}" in status.stdout.replace("\n", ""), status.output
    assert json.loads((tmp_path / "timeline.json").read_text())["traceEvents"]
    compared = compare([f"{bucket}/first"], f"{bucket}/report")
    assert f"{bucket}/report/report.html" in compared.files
    report = CliRunner().invoke(cli, ["report", f"{bucket}/first"])
    assert f"Wrote {bucket}/first/report.html" in report.stdout, report.output
    assert b"<html" in (fetched(f"{bucket}/first", out) / "report.html").read_bytes()


def test_a_store_that_is_cut_off_in_the_middle_ends_the_run_and_it_goes_on_when_it_is_back(
    server: Any, bucket: str, config: Config, local: RunResult, tmp_path: Path
) -> None:
    def cut(record: Any) -> None:
        server.cut()

    with pytest.raises(StorageError, match="gone away") as caught:
        run(config, out=f"{bucket}/run", in_process=True, on_round=cut)
    server.restore()
    assert (caught.value.value, caught.value.exit_code) == (f"{bucket}/run", 1)
    assert caught.value.mend == "Bring it back and go on with --resume"
    assert untimed(read_rounds(fetched(f"{bucket}/run", tmp_path / "half"))) == untimed(local.rounds[:1])
    resumed = run(config, out=f"{bucket}/run", in_process=True, resume=True)
    assert_same(resumed, fetched(f"{bucket}/run", tmp_path / "out"), (local, picks(local.directory)))  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["checkpoint:1", "round:1", "checkpoint:2", "final:1", "checkpoint:3"])
def test_a_run_that_is_killed_goes_on_from_the_bucket(
    moment: str, server: Any, bucket: str, config: Config, local: RunResult, folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    uri = f"{bucket}/run"
    command = [str(MORTAL), "config.yaml", uri, moment]
    process = Forked(*command, cwd=tmp_path, environment=server.environment)
    _, said = process.communicate(120)
    assert process.returncode == -9, said
    told = json.loads((fetched(uri, tmp_path / "half") / "checkpoint" / lease.HELD).read_text())
    assert told["holder"] is not None
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # Its working copy on this machine tells that it is dead; nobody waits for signs of life.
    process = Forked(
        "-m", "asvp", "run", "--resume", uri, "--in-process", "--json", cwd=elsewhere, environment=server.environment
    )
    stdout, said = process.communicate(120)
    assert process.returncode == 0, said
    found = json.loads(stdout)
    resumed = RunResult(found["rounds"], found["summary"], found["directory"])
    assert resumed.directory == uri
    assert_same(resumed, fetched(uri, tmp_path / "out"), (local, picks(local.directory)))  # type: ignore[arg-type]
    assert list(elsewhere.iterdir()) == []


def test_the_command_names_the_uri_and_is_refused_before_work(
    server: Any, bucket: str, config: Config, tmp_path: Path
) -> None:
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    words = ["run", str(tmp_path / "config.yaml"), "--out", f"{bucket}/run", "--in-process"]
    begun = CliRunner().invoke(cli, [*words, "--until-round", "0"])
    assert begun.exit_code == 0, begun.output
    assert f"Run directory: {bucket}/run" in begun.stdout
    server.mood = "refusing writes"
    refused = CliRunner().invoke(cli, [*words, "--resume"])
    assert isinstance(refused.exception, RunDirectoryError)
    assert refused.exception.exit_code == 2
    assert bucket in str(refused.exception)
    assert "Denied" in str(refused.exception)
