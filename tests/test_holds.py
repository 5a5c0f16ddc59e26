"""One holder of a place, and how an older one is fenced out."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from tiny_runs import wait_until

from asvp import holds
from asvp.errors import AsvpError, RunDirectoryError, SupersededError
from asvp.folders import sweep_up
from asvp.holds import held, is_held

HOLDER = """
import sys, time
from pathlib import Path
from asvp.holds import held

with held(Path(sys.argv[1]), Path(sys.argv[1])) as hold:
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Forked]:
    """Another process that holds a place."""
    process = Forked("-c", HOLDER, str(tmp_path), cwd=tmp_path)
    wait_until(lambda: any(tmp_path.glob(".held.*.tmp")))
    yield process
    process.send_signal(signal.SIGKILL)


def write(text: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(text)


def elsewhere(folder: Path) -> None:
    """Have a holder be one of another machine, whose locks are not seen here."""
    told = json.loads((folder / "holder.json").read_text())
    (folder / "holder.json").write_text(json.dumps({**told, "machine": "another"}))
    (folder / "lock").unlink()
    (folder / "lock").touch()


def test_a_place_has_one_holder_and_is_free_after_it(tmp_path: Path) -> None:
    with held(tmp_path, tmp_path) as hold:
        assert is_held(tmp_path)
        with pytest.raises(RunDirectoryError, match="another process is at work"), held(tmp_path, tmp_path):
            raise AssertionError
        hold.write(tmp_path / "file", write("mine"))
    assert not is_held(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    with held(tmp_path, tmp_path):
        pass
    with pytest.raises(AsvpError, match="cannot be held"), held(tmp_path / "none", tmp_path):
        raise AssertionError


def test_another_process_is_left_alone_as_long_as_it_lives(tmp_path: Path, holder: Forked) -> None:
    with pytest.raises(RunDirectoryError, match="another process is at work"), held(tmp_path, tmp_path):
        raise AssertionError
    holder.send_signal(signal.SIGKILL)
    wait_until(lambda: holder.poll() is not None)
    with held(tmp_path, tmp_path) as hold:
        assert list(tmp_path.glob(".held.*.tmp")) == [hold.folder]


def test_a_holder_that_was_fenced_out_writes_removes_and_renames_nothing(tmp_path: Path) -> None:
    place, sweep = tmp_path / "run", tmp_path / "sweep"
    place.mkdir()
    sweep.mkdir()
    with ExitStack() as both:
        old = both.enter_context(held(place, place))
        old.write(place / "file", write("old"))
        new = both.enter_context(held(place, place, mandate=sweep))
        for act in (lambda: old.write(place / "file", write("orphan")), lambda: old.remove(place / "file")):
            with pytest.raises(SupersededError, match="taken over"):
                act()
        assert (place / "file").read_text() == "old"
        new.write(place / "file", write("new"))
        new.remove(place / "file")
        new.remove(place / "file")
    assert list(place.iterdir()) == []


@pytest.mark.parametrize("moment", ["before it has written", "after it has written"])
def test_one_that_is_fenced_out_while_it_writes_leaves_what_is_there(moment: str, tmp_path: Path) -> None:
    def while_taken(path: Path) -> None:
        if moment == "after it has written":
            path.write_text("orphan")
        with held(tmp_path, tmp_path, mandate=tmp_path) as new:
            new.write(tmp_path / "file", write("new"))
        if moment == "before it has written":
            path.write_text("orphan")

    with held(tmp_path, tmp_path) as old:
        with pytest.raises(SupersededError):
            old.write(tmp_path / "file", while_taken)
        with pytest.raises(SupersededError):
            old.require()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {"file": "new"}


def test_a_mandate_that_has_ended_takes_nothing_over(tmp_path: Path) -> None:
    with held(tmp_path, tmp_path) as present:
        gone = tmp_path / "gone"
        with pytest.raises(SupersededError), held(tmp_path, tmp_path, mandate=gone):
            raise AssertionError
        present.require()


CLOCKS = pytest.mark.parametrize("clock", [0, time.time() - 600, time.time() + 600], ids=["epoch", "behind", "ahead"])


def at(clock: float, folder: Path) -> None:
    """Have all of a holder's files be of a time that another clock has told."""
    for path in folder.iterdir():
        os.utime(path, (clock, clock))


@CLOCKS
def test_a_holder_on_another_machine_is_known_by_its_signs_of_life_whatever_its_clock(
    clock: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "BEAT", 0.01)
    monkeypatch.setattr(holds, "_LOOK", 0.01)
    with held(tmp_path, tmp_path) as there:
        elsewhere(there.folder)
        at(clock, there.folder)
        with pytest.raises(RunDirectoryError, match="another process is at work"), held(tmp_path, tmp_path):
            raise AssertionError


@CLOCKS
def test_one_on_another_machine_that_is_silent_is_fenced_out_whatever_its_clock(
    clock: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(holds, "SILENCE", 0.05)
    monkeypatch.setattr(holds, "_LOOK", 0.01)
    with held(tmp_path, tmp_path) as there:
        elsewhere(there.folder)
        at(clock, there.folder)
        with held(tmp_path, tmp_path), pytest.raises(SupersededError):
            there.write(tmp_path / "file", write("orphan"))


def test_a_full_disk_is_told_as_such_and_not_as_a_place_taken_over(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        raise OSError(28, os.strerror(28))

    with held(tmp_path, tmp_path) as hold, pytest.raises(AsvpError, match="disk is full"):
        hold.write(tmp_path / "file", full)


def test_what_is_swept_up_beside_a_holder_is_not_its_own(tmp_path: Path) -> None:
    with held(tmp_path, tmp_path) as hold:
        left = tmp_path / ".arriving.0123456789abcdef0123456789abcdef.tmp"
        left.mkdir()
        sweep_up(tmp_path, but=hold.folder)
        assert list(tmp_path.iterdir()) == [hold.folder]
