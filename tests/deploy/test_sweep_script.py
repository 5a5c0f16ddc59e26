"""deploy/sweep.sh begins a sweep once and goes on with it ever after."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "deploy" / "sweep.sh"


@pytest.fixture
def asvp(tmp_path: Path) -> Path:
    """A folder with an `asvp` that prints its arguments, a line each, and knows a sweep if there is a file `begun`."""
    command = tmp_path / "bin" / "asvp"
    command.parent.mkdir()
    status = f'[ "$1" != status ] || exec test -e {tmp_path / "begun"}'
    command.write_text(f'#!/bin/sh\n{status}\nprintf "%s\\n" "$@"\n')
    command.chmod(0o755)
    return command.parent


def called(asvp: Path, *arguments: str) -> list[str]:
    ran = subprocess.run(
        ["bash", str(SCRIPT), *arguments],
        env={"PATH": f"{asvp}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.splitlines()


def test_a_sweep_is_begun_and_then_gone_on_with(asvp: Path, tmp_path: Path) -> None:
    directory = tmp_path / "a sweep"
    given = (str(directory), "budgets", "demo", "-s", "budget=5 + 5x2")
    asked = ["sweep", "budgets", "demo", "-s", "budget=5 + 5x2", "--out", str(directory)]
    assert called(asvp, *given) == asked
    directory.mkdir()
    assert called(asvp, *given) == asked
    (directory / ".asvp.json").write_text("{}")
    assert called(asvp, *given) == [*asked, "--resume"]


def test_at_a_uri_asvp_is_asked_whether_it_was_begun(asvp: Path, tmp_path: Path) -> None:
    asked = ["sweep", "budgets", "--out", "s3://bucket/sweep"]
    assert called(asvp, "s3://bucket/sweep", "budgets") == asked
    (tmp_path / "begun").touch()
    assert called(asvp, "s3://bucket/sweep", "budgets") == [*asked, "--resume"]


def test_without_a_space_the_usage_is_told(tmp_path: Path) -> None:
    ran = subprocess.run(["bash", str(SCRIPT), str(tmp_path)], capture_output=True, text=True)
    assert ran.returncode == 2
    assert ran.stderr.startswith("usage: ")
