"""A sweep at a URI: left without its store, killed, refused to a second process, gone on with, and told of."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import fsspec
import pytest
import yaml
from forked import Forked
from tiny_runs import picks, tiny_config, wait_until

from asvp.driver.loop import run
from asvp.remote.lease import HELD
from asvp.remote.objects import Objects
from asvp.report.comparison import compare
from asvp.tune_spaces.result import SweepResult
from asvp.tune_spaces.space import Space, trials

pytestmark = [pytest.mark.slow, pytest.mark.long]
ARMS = {"svp": {}, "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": [20, 30]}}}


def rounds_at(uri: str) -> int:
    """Finished rounds of all trials, as the checkpoints at the URI count them."""
    filesystem, base = fsspec.core.url_to_fs(uri, use_listings_cache=False)
    found = filesystem.glob(f"{base}/runs/*/checkpoint/state.json")
    return sum(json.loads(filesystem.cat_file(path))["rounds"] for path in found)


def holder(uri: str) -> Any:
    return json.loads(Objects(uri).read(HELD) or b"{}").get("holder")


def test_a_sweep_in_a_bucket_goes_on_whatever_happens_to_it_and_its_store(
    server: Any, bucket: str, tmp_path: Path
) -> None:
    # As many rounds as it takes for a second process to come in the middle.
    base = tiny_config(
        tmp_path, budget="20+5x16", extraction={"cache": f"{bucket}/cache"}, workers={"count": 1, "cpus": 1}
    )
    uri = f"{bucket}/sweep"
    here = tmp_path / "here"
    here.mkdir()
    (here / "config.yaml").write_text(base.to_yaml())
    (here / "space.yaml").write_text(yaml.safe_dump({"arms": ARMS, "seeds": [0]}))
    words = ["-m", "asvp", "sweep", "space.yaml", "config.yaml", "--address", "local", "--out", uri]

    def start(*more: str) -> Forked:
        return Forked(*words, *more, cwd=here, environment=server.environment, start_new_session=True)

    def wait_for_rounds(process: Forked, count: int) -> None:
        wait_until(lambda: process.poll() is not None or rounds_at(uri) >= count, 120)
        assert process.poll() is None, process.communicate(1)

    process = start()
    wait_for_rounds(process, 1)
    server.cut()
    _, said = process.communicate(240)
    server.restore()
    assert process.poll() == 1, said
    assert f"(got '{uri}" in said.splitlines()[-1]
    assert "the storage has gone away" in said.splitlines()[-1]
    assert f"this goes on: asvp sweep space.yaml config.yaml --address local --out {uri} --resume" in said
    done = rounds_at(uri)
    assert done >= 1

    process = start("--resume")
    wait_until(lambda: process.poll() is not None or holder(uri) is not None, 60)
    second = start("--resume")
    _, refused = second.communicate(120)
    assert second.poll() == 2, refused
    assert f"--out: another process is at work here (got '{uri}')" in refused
    wait_for_rounds(process, done + 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate(30)
    assert rounds_at(uri) < 34
    done = rounds_at(uri)
    status = Forked("-m", "asvp", "status", uri, "--json", cwd=tmp_path, environment=server.environment)
    told = json.loads(status.communicate(60)[0])
    assert told["directory"] == uri
    assert sum(trial["rounds"] for trial in told["trials"]) >= done

    process = start("--resume")
    _, said = process.communicate(240)
    assert process.poll() == 0, said
    assert "Going on with the sweep: " in said
    for trial in trials(Space(ARMS, (0,)), base.model_dump()):
        plain = trial.config.extraction.model_copy(update={"cache": None})
        run(trial.config.model_copy(update={"extraction": plain}), out=tmp_path / trial.name, in_process=True)
        filesystem, place = fsspec.core.url_to_fs(f"{uri}/runs/{trial.name}/labelled.parquet")
        filesystem.get_file(place, str(here / "labelled.parquet"))
        assert picks(here) == picks(tmp_path / trial.name)
    assert {trial.state for trial in SweepResult(uri, {}).trials} == {"finished"}
    assert len(SweepResult(uri, {}).to_pandas()) == 34
    assert len(compare([uri]).records) == 2
    assert not any(path.name.startswith("asvp") for path in here.iterdir())
