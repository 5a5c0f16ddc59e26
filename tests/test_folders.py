"""What is written is asvp's own: names are settled before work, and nobody else's file is replaced or removed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import SafetensorError

from asvp.errors import RunDirectoryError, WorkError
from asvp.files import temporary_beside, write_atomically, write_text
from asvp.folders import MARKER, entries, mark, read_marker, replace_folder, settle, sweep_up, write_owned


def everything(folder: Path) -> dict[str, bytes | None]:
    """What lies in a folder and below it, with its content."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def test_a_home_is_understood_and_a_path_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert settle("~/x") == settle("x") == settle("./a/../x") == settle(Path("x")) == tmp_path / "x"
    assert settle("exp [/x] %20 #1 é") == tmp_path / "exp [/x] %20 #1 é"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("a" * 256, "256 bytes"),
        ("é" * 128, "256 bytes"),
        ("a/" * 2500, "too long"),
        ("two\nlines", "line break"),
        ("red\x1b[31m", "control character"),
        ("nul\0", "control character"),
        ("\udcff", "no text"),
        ("s3://bucket/run", "URI"),
        ("file:/tmp/x", "URI"),
        ("~nobody-of-this-name/x", "user that is not known"),
        (5, "is no path"),
        (b"bytes", "is no path"),
        (None, "is no path"),
    ],
)
def test_a_name_that_can_be_no_folder_is_refused(name: Any, said: str) -> None:
    with pytest.raises(RunDirectoryError, match=said):
        settle(name)


def test_files_are_written_into_an_empty_folder_and_replaced_while_they_are_as_written(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in (b"first", b"second"):
        write_owned(out, {"a.csv": text}, version="1", key="--out")
        assert (out / "a.csv").read_bytes() == text
    assert entries(out) == {"a.csv", MARKER}


@pytest.mark.parametrize("theirs", ["a.csv", "notes.txt", ".hidden", "a.csv/inside"])
def test_a_folder_of_others_is_refused_and_left_as_it_is(tmp_path: Path, theirs: str) -> None:
    file = tmp_path / theirs
    file.parent.mkdir(exist_ok=True)
    file.write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(RunDirectoryError, match="was not written by asvp"):
        write_owned(tmp_path, {"a.csv": b"x", "b.csv": b"y"}, version="1", key="--out")
    assert everything(tmp_path) == before


@pytest.mark.parametrize("known", [False, True])
def test_a_file_that_was_changed_or_added_by_others_is_not_replaced(tmp_path: Path, known: bool) -> None:
    write_owned(tmp_path, {"a.csv": b"x"}, version="1", key="--out")
    (tmp_path / "b.csv").write_text("mine")
    with pytest.raises(RunDirectoryError, match=r"b\.csv there"):
        write_owned(tmp_path, {"a.csv": b"new", "b.csv": b"new"}, version="1", key="--out", known=known)
    (tmp_path / "b.csv").unlink()
    (tmp_path / "a.csv").write_text("edited")
    before = everything(tmp_path)
    with pytest.raises(RunDirectoryError, match=r"a\.csv there"):
        write_owned(tmp_path, {"a.csv": b"new", "b.csv": b"new"}, version="1", key="--out", known=known)
    assert everything(tmp_path) == before


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    out, theirs = tmp_path / "out", tmp_path / "theirs.csv"
    theirs.write_text("mine")
    out.mkdir()
    mark(out, "report", "1")
    (out / "a.csv").symlink_to(theirs)
    with pytest.raises(RunDirectoryError, match=r"a\.csv there"):
        write_owned(out, {"a.csv": b"x"}, version="1", key="--out")
    assert theirs.read_text() == "mine"


@pytest.mark.parametrize("damage", ["", "[1]", "{}", '{"asvp": "1", "files": [1]}', "\xff"])
def test_a_marker_that_is_none_marks_nothing(tmp_path: Path, damage: str) -> None:
    (tmp_path / MARKER).write_text(damage, encoding="latin-1")
    assert read_marker(tmp_path) is None


def fill(folder: Path) -> None:
    (folder / "new").write_text("new")


def test_a_folder_is_replaced_as_a_whole_only_if_it_is_ours(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    replace_folder(folder, fill, ours=lambda made: False)
    (folder / "mine").write_text("mine")
    before = everything(tmp_path)
    with pytest.raises(RunDirectoryError, match="not replaced"):
        replace_folder(folder, fill, ours=lambda made: entries(folder) <= entries(made))
    assert everything(tmp_path) == before
    (folder / "mine").unlink()
    (folder / "new").write_text("old")
    replace_folder(folder, fill, ours=lambda made: entries(folder) <= entries(made))
    assert everything(tmp_path) == {"model": None, "model/new": b"new"}


FULL: dict[str, Exception] = {
    "as Python tells it": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
    "as a quota": OSError(errno.EDQUOT, os.strerror(errno.EDQUOT)),
    "as safetensors tells it": SafetensorError('IoError(Os { code: 28, kind: StorageFull, message: "No space" })'),
}


@pytest.mark.parametrize("how", FULL)
def test_a_full_disk_is_told_and_leaves_what_was_there_and_no_temporary_file(tmp_path: Path, how: str) -> None:
    def write(path: Path) -> None:
        half = path / "half" if path.is_dir() else path
        half.write_text("half")
        raise FULL[how]

    write_text(tmp_path / "file", "before")
    replace_folder(tmp_path / "model", fill, ours=lambda made: False)
    before = everything(tmp_path)
    attempts: list[Callable[[], None]] = [
        lambda: write_atomically(tmp_path / "file", write),
        lambda: replace_folder(tmp_path / "model", write, ours=lambda made: True),
    ]
    for attempt in attempts:
        with pytest.raises(WorkError, match="disk is full"):
            attempt()
        assert everything(tmp_path) == before


def test_an_interruption_while_a_file_is_written_leaves_what_was_there(tmp_path: Path) -> None:
    def write(path: Path) -> None:
        path.write_text("half")
        raise KeyboardInterrupt

    write_text(tmp_path / "file", "before")
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "file", write)
    assert everything(tmp_path) == {"file": b"before"}


def test_only_what_has_our_temporary_names_is_swept_up(tmp_path: Path) -> None:
    temporary_beside(tmp_path / "model").mkdir()
    temporary_beside(tmp_path / "state.json").write_text("half")
    for name in (".mine.tmp", ".x.0123.tmp", "notes.tmp"):
        (tmp_path / name).write_text("mine")
    sweep_up(tmp_path)
    assert set(everything(tmp_path)) == {".mine.tmp", ".x.0123.tmp", "notes.tmp"}
