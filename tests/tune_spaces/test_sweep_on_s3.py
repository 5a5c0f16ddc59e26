"""A sweep whose cache is a bucket is computed to its end when the bucket goes away in the middle."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from forked import Forked
from tiny_runs import picks, tiny_config, wait_until

from asvp.driver.loop import run
from asvp.tune_spaces.space import Space, trials

pytest.importorskip("s3fs", reason="asvp[s3] is not installed")
pytest.importorskip("moto", reason="moto is not installed")

from s3_server import S3Server

pytestmark = pytest.mark.long
ARMS = {"svp": {}, "asvp": {"mode": "asvp", "refresh": {"policy": "at", "at": [20, 30]}}}


# tests/compute/test_cache_on_s3.py has the same for one run.
@pytest.mark.slow
def test_a_sweep_outlives_the_server_of_its_cache(tmp_path: Path) -> None:
    server = S3Server()
    bucket, out = server.make_bucket("sweep"), tmp_path / "out"
    base = tiny_config(tmp_path, extraction={"cache": f"{bucket}/asvp"}, workers={"count": 2, "cpus": 1})
    (tmp_path / "config.yaml").write_text(base.to_yaml())
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"arms": ARMS, "seeds": [0]}))
    words = ["-m", "asvp", "sweep", "space.yaml", "config.yaml", "--out", "out", "--address", "local"]
    process = Forked(*words, cwd=tmp_path, environment=server.environment, start_new_session=True)
    wait_until(lambda: process.poll() is not None or any(out.glob("runs/*/rounds.jsonl")), 120)
    used = server.requests["well"]
    server.cut()
    _, said = process.communicate(240)
    assert process.poll() == 0, said
    assert used > 0
    plain = base.extraction.model_copy(update={"cache": None})
    for trial in trials(Space(ARMS, (0,)), base.model_dump()):
        run(trial.config.model_copy(update={"extraction": plain}), out=tmp_path / trial.name, in_process=True)
        assert picks(out / "runs" / trial.name) == picks(tmp_path / trial.name)
    log = (out / "runs" / "asvp-seed0" / "run.log").read_text()
    faults = [line.partition("extraction.cache: ")[2] for line in log.splitlines() if "EndpointConnection" in line]
    assert faults
    assert len(set(faults)) == len(faults)
