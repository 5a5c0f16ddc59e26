"""Temporary folders go with their process, however that ends."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

import pytest
from forked import Forked
from tiny_runs import wait_until

from asvp import scratch
from asvp.errors import RunDirectoryError
from asvp.scratch import scratch_folder

SLEEPER = """
import sys, tempfile, time
tempfile.tempdir = sys.argv[1]
from asvp.scratch import scratch_folder

with scratch_folder() as folder:
    (folder / "model").mkdir()
    (folder / "model" / "weights").write_bytes(bytes(1000))
    time.sleep(600)
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The machine's temporary folder."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_there_for_a_while(here: Path) -> None:
    with scratch_folder() as folder, scratch_folder() as other:
        assert folder != other
        assert sorted(here.iterdir()) == sorted([folder, other])
    assert list(here.iterdir()) == []


def test_what_a_killed_process_has_left_goes_with_the_next_folder(here: Path) -> None:
    process = Forked("-c", SLEEPER, str(here), cwd=here)
    try:
        wait_until(lambda: any(here.glob("asvp-*/model/weights")))
        left = next(here.glob("asvp-*"))
        with scratch_folder():
            assert (left / "model" / "weights").exists()
    finally:
        process.send_signal(signal.SIGKILL)
    wait_until(lambda: process.poll() is not None)
    assert left.exists()
    with scratch_folder() as folder:
        assert list(here.iterdir()) == [folder]


def test_what_may_be_anothers_stays(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, owner in (("asvp-elsewhere", "another machine"), ("asvp-before", None)):
        (here / name).mkdir()
        if owner is not None:
            (here / name / ".asvp-owner").write_text(owner)
    (here / "asvp-link").symlink_to(here / "target")
    (here / "target").mkdir()
    (here / "target" / ".asvp-owner").write_text(scratch.machine())
    before = sorted(here.iterdir())
    with scratch_folder():
        pass
    assert sorted(here.iterdir()) == before
    monkeypatch.setattr(scratch.os, "geteuid", lambda: -1)
    (here / "asvp-link").unlink()
    (here / "target").rename(here / "asvp-user")
    with scratch_folder():
        pass
    assert (here / "asvp-user").exists()


def test_no_place_for_a_folder_is_an_error_of_ours(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(here / "none"))
    with pytest.raises(RunDirectoryError, match="none: cannot be written"), scratch_folder():
        raise AssertionError
