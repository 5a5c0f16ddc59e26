"""Runs of Weights & Biases without a key or a network: files for `wandb sync`, read by their records."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.trial import LoggedTrial

wandb = pytest.importorskip("wandb")

TRIAL = LoggedTrial("svp-seed1", "svp", 1, {"mode": "svp", "proxy.lr": 0.5})
PROXY = [Point("accuracy/proxy", 20, 0.5), Point("accuracy/proxy", 30, 0.625)]
FINAL = [Point("accuracy/final", 20, 0.75)]


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings and no key of this machine."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "no config"))


def records(path: Path) -> Iterator[Any]:
    """The records of a .wandb file: blocks of 32 KiB as in LevelDB's log, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    content, place, parts = path.read_bytes(), 7, b""
    assert content[:4] == b":W&B"
    while place < len(content):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", content[place : place + 7])
        parts += content[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):
            yield Record.FromString(parts)
            parts = b""


def read(folder: Path) -> dict[str, Any]:
    """What a folder of a run tells."""
    [path] = folder.glob("*.wandb")
    found: dict[str, Any] = {"history": [], "steps": {}}
    for record in records(path):
        if record.HasField("run"):
            found["name"], found["id"], found["group"] = (
                record.run.display_name,
                record.run.run_id,
                record.run.run_group,
            )
            found["project"] = record.run.project
            found["config"] = {one.key: json.loads(one.value_json) for one in record.run.config.update}
        elif record.HasField("history"):
            row = {one.key or ".".join(one.nested_key): json.loads(one.value_json) for one in record.history.item}
            found["history"].append({name: value for name, value in row.items() if not name.startswith("_")})
        elif record.HasField("metric"):
            found["steps"][record.metric.name] = record.metric.step_metric
    return found


def test_without_a_key_runs_stay_in_the_sweep_directory_and_go_on_under_their_id(
    ray_local: Any, tmp_path: Path
) -> None:
    from asvp.tune_spaces.loggers.wandb_runs import WandbRuns

    out = tmp_path / "my sweep"
    out.mkdir()
    said: list[str] = []
    runs = WandbRuns(out, said.append)
    assert said == [
        f"Weights & Biases: runs stay in {out / 'wandb'}; to upload them: wandb sync {out / 'wandb'}/offline-run-*"
    ]
    assert runs.holds(TRIAL, PROXY) == set()
    runs.write(TRIAL, PROXY)
    runs.close()
    assert said[1:] == ["Weights & Biases: 1 runs are being ended, in 60 s at most"]
    later = WandbRuns(out, said.append)
    assert later.holds(TRIAL, PROXY) == {point.key for point in PROXY}
    later.write(TRIAL, FINAL)
    later.ended(TRIAL, failed=False)
    later.ended(LoggedTrial("never-begun", "never", 0), failed=True)
    later.close()
    first, second = (read(folder) for folder in sorted((out / "wandb").glob("offline-run-*")))
    assert first["history"] == [
        {"accuracy/proxy": 0.5, "labels": 20},
        {"accuracy/proxy": 0.625, "labels": 30},
    ]
    assert second["history"] == [{"accuracy/final": 0.75, "labels": 20}]
    assert first["steps"] == {"accuracy/proxy": "labels"}
    assert (first["id"], first["name"], first["group"]) == (second["id"], TRIAL.name, "svp")
    assert first["project"] == "my sweep"
    assert {key: first["config"][key] for key in TRIAL.parameters} == TRIAL.parameters


def test_what_the_process_of_a_run_fails_of_is_raised(ray_local: Any, tmp_path: Path, monkeypatch: Any) -> None:
    from asvp.tune_spaces.loggers.wandb_runs import WandbRuns

    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_PROJECT", "a/b")
    runs = WandbRuns(tmp_path, [].append)
    runs.write(TRIAL, PROXY)
    with pytest.raises(Exception, match="project"):
        runs.close()
