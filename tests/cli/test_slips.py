"""Slips of the pen at the command line: told at once, before anything heavy is imported, and with their mend."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from asvp.cli.app import cli
from asvp.config import presets

CODE = """
import sys
from asvp.cli.app import main
sys.argv = ["asvp", *sys.argv[1:]]
try:
    main()
finally:
    print("imported:", *sorted({"ray", "torch", "transformers"} & set(sys.modules)), file=sys.stderr)
"""


def asvp(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


SLIPS = {
    "run": (["run", "demoo"], "Did you mean demo?"),
    "check": (["check", "demoo"], "Did you mean demo?"),
    "extract": (["extract", "demoo"], "Did you mean demo?"),
    "sweep": (["sweep", "svp_vs_asvp", "demoo"], "Did you mean demo?"),
    "space": (["sweep", "svp_vs_aspv", "demo"], "Did you mean svp_vs_asvp?"),
    "dry run": (["sweep", "svp_vs_aspv", "demo", "--dry-run"], "Did you mean svp_vs_asvp?"),
    "seeds": (["sweep", "svp_vs_asvp", "demo", "--seeds", "a,b"], "Write 0,1,2"),
    "log": (["sweep", "svp_vs_asvp", "demo", "--log", "tensorbord"], "Did you mean tensorboard?"),
    "scheduler": (["sweep", "svp_vs_asvp", "demo", "--scheduler", "ahsa"], "Choose among: none, asha, median"),
    "search": (["sweep", "svp_vs_asvp", "demo", "--search", "rand"], "Choose among: grid, random, optuna"),
    "sweep directory": (["sweep", "svp_vs_asvp", "demo", "--out", "full"], "is not empty"),
    "no YAML": (["check", "bad.yaml"], "is no YAML"),
    "no folder to run on": (["run", "demo", "-s", "data.pool=nofolder/"], "there is no such file or folder"),
    "no folder to check": (["check", "demo", "-s", "data.pool=nofolder/"], "there is no such file or folder"),
    "no folder to extract": (["extract", "demo", "-s", "data.pool=nofolder/"], "there is no such file or folder"),
    "no built-in set": (["check", "demo", "-s", "data.pool=builtin:debian"], "debian_sections"),
    "a cache that is a file": (["check", "demo", "-s", "extraction.cache=bad.yaml"], "Name another folder, or null"),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_is_told_of_before_ray_and_pytorch_are_imported(name: str, tmp_path: Path) -> None:
    arguments, said = SLIPS[name]
    (tmp_path / "bad.yaml").write_text("data: [1, 2\nseed: 0\n")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").touch()
    done = asvp(tmp_path, *arguments)
    *_, told, imported = done.stderr.splitlines()
    assert (done.returncode, imported) == (2, "imported:"), done.stderr
    assert told.startswith("asvp: ")
    assert said in told


@pytest.mark.parametrize("words", [[], ["cache"]])
def test_a_command_without_arguments_shows_its_help_in_lines(words: list[str], tmp_path: Path) -> None:
    done = asvp(tmp_path, *words)
    assert (done.returncode, done.stdout) == (2, "")
    first, *rest, imported = done.stderr.splitlines()
    assert first == " ".join(["Usage: asvp", *words, "[OPTIONS] COMMAND [ARGS]..."])
    assert {"Options:", "Commands:"} <= set(rest)
    assert "\\n" not in done.stderr
    assert imported == "imported:"


def test_the_help_of_run_names_all_presets() -> None:
    helped = " ".join(CliRunner().invoke(cli, ["run", "--help"]).output.split())
    assert f"a preset ({', '.join(presets())})" in helped


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="there is a folder in which nobody makes one")
@pytest.mark.parametrize(
    "words",
    [
        ["run", "demo", "--out", "/proc/nope"],
        ["run", "demo", "--in-process", "--out", "/proc/nope/below"],
        ["sweep", "svp_vs_asvp", "demo", "--out", "/proc/nope"],
        ["check", "demo", "-s", "extraction.cache=/proc/nope"],
        ["run", "demo", "-s", "extraction.cache=/proc/nope"],
        ["extract", "demo", "-s", "extraction.cache=/proc/nope/below"],
    ],
)
def test_a_folder_that_cannot_be_made_is_refused_before_work(words: list[str], tmp_path: Path) -> None:
    done = asvp(tmp_path, *words)
    *_, told, imported = done.stderr.splitlines()
    assert (done.returncode, imported) == (2, "imported:"), done.stderr
    assert "/proc/nope" in told
    assert "Name another folder" in told
    assert not list(tmp_path.iterdir())
