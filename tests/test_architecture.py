"""The never-arrows of the design hold, and the method runs without Ray."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from importlinter import cli

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ["pipeline.selection", "pipeline.alignment", "pipeline.models", "pipeline.data", "pipeline.features"]


def imported_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def test_imports_follow_the_contracts_in_pyproject(capsys, monkeypatch):
    monkeypatch.chdir(ROOT)
    status = cli.lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == cli.EXIT_STATUS_SUCCESS, capsys.readouterr().out


def test_importing_pipeline_imports_neither_ray_nor_torch():
    assert imported_after("import pipeline").isdisjoint({"ray", "torch", "transformers"})


@pytest.mark.parametrize("package", PLAIN)
def test_the_method_does_not_import_ray(package):
    assert "ray" not in imported_after(f"import {package}")
