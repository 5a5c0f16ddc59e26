"""One storm of the soak; `make soak MINUTES=30` has many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long

SOAK = Path(__file__).with_name("soak.py")


def test_a_sweep_in_a_storm_ends_as_one_in_peace(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    command = [sys.executable, str(SOAK), "--minutes", "0", "--seed", "1", "--log", str(log)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    told = [json.loads(line)["what"] for line in log.read_text().splitlines()]
    assert told[-2:] == ["all trials are as in peace", "done"]
    assert len(told) > 5
