"""The arrows of the design hold, every module has its floor, and the method runs without Ray."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PLAIN = ["asvp.selection", "asvp.alignment", "asvp.models", "asvp.data", "asvp.features", "asvp.compute"]


def imported_after(statement: str) -> set[str]:
    """Top-level modules that a fresh interpreter holds after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.split())


def link_tree(folder: Path) -> Path:
    """The package as one tree of links to its files, to which a test can add."""
    for name, place in (("", "pipeline"), ("actors", "actors"), ("tune_spaces", "tune_spaces")):
        for file in (ROOT / place).rglob("*.py"):
            link = folder / "asvp" / name / file.relative_to(ROOT / place)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file)
    return folder


def lint(tree: Path) -> subprocess.CompletedProcess[str]:
    """The contracts of pyproject.toml held against a tree."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(tree)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_follow_the_contracts_in_pyproject(tmp_path):
    # In a process of its own: it silences every logger that is there.
    done = lint(link_tree(tmp_path))
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(
    ("file", "text", "broken"),
    [
        ("homeless.py", "", "homeless"),
        ("selection/homeless.py", "", "homeless"),
        ("features/moments.py", "import asvp.features.feature_set\n", "No circle"),
        ("selection/rows.py", "import asvp.data.source\n", "Arrows run one way"),
        ("compute/jobs.py", "import ray\n", "no Ray"),
    ],
)
def test_a_module_without_a_floor_a_circle_and_an_arrow_up_are_found(tmp_path, file, text, broken):
    tree = link_tree(tmp_path)
    changed = tree / "asvp" / file
    if changed.exists():
        text = changed.read_text() + text
        changed.unlink()
    changed.write_text(text)
    found = lint(tree)
    assert found.returncode != 0
    assert broken in " ".join(found.stdout.split())


def test_importing_asvp_imports_neither_ray_nor_torch():
    assert imported_after("import asvp").isdisjoint({"ray", "torch", "transformers", "numpy"})


def test_the_method_does_not_import_ray():
    """One after the other in one interpreter, as most of the time goes into importing PyTorch."""
    code = f"import sys\nfor package in {PLAIN}:\n    __import__(package)\n    assert 'ray' not in sys.modules, package"
    assert "asvp" in imported_after(code)
