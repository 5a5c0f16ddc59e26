"""Benchmarks that nobody runs for months still run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.slow
def test_the_benchmark_of_a_gpu_runs_without_one(tmp_path: Path) -> None:
    command = [sys.executable, str(BENCHMARKS / "gpu.py"), "--tiny", "--only", "text", "--only", "images"]
    ended = subprocess.run(
        [*command, "--out", str(tmp_path / "told.json")], capture_output=True, text=True, timeout=600
    )
    assert ended.returncode == 0, ended.stderr
    told = json.loads((tmp_path / "told.json").read_text())
    assert told["demo"] is None
    for rate in (told["text"]["short"][name] for name in ("product", "bare", "transformers", "flops_share")):
        assert rate > 0
    assert told["images"]["least_cosine_to_pil"]["pil"] == pytest.approx(1.0)
    assert "times transformers" in ended.stdout
