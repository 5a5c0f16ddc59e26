"""Event files: what TensorBoard reads, also of sweeps that were interrupted, taken over, or had no room."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from event_files import curves, events, parameters, sessions

from asvp.errors import RunDirectoryError, StorageError, SupersededError
from asvp.holds import Hold, held
from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.tensorboard import TensorBoard
from asvp.tune_spaces.loggers.trial import LoggedTrial

TRIAL = LoggedTrial("svp-seed1", "svp", 1, {"mode": "svp", "proxy.lr": 0.5, "flag": True})
PROXY = [Point("accuracy/proxy", 20, 0.5), Point("accuracy/proxy", 30, 0.625)]
FINAL = [Point("accuracy/final", 20, 0.75)]


@pytest.fixture
def hold(tmp_path: Path) -> Iterator[Hold]:
    with held(tmp_path, tmp_path) as hold:
        yield hold


def folder(out: Path) -> Path:
    return out / "tensorboard" / TRIAL.name


def test_points_stand_at_their_labels_and_late_ones_too(tmp_path: Path, hold: Hold) -> None:
    board = TensorBoard(tmp_path, hold)
    assert board.holds(TRIAL, PROXY) == set()
    board.write(TRIAL, PROXY)
    board.write(TRIAL, FINAL)
    board.ended(TRIAL, failed=False)
    assert curves(folder(tmp_path)) == {"accuracy/proxy": [(20, 0.5), (30, 0.625)], "accuracy/final": [(20, 0.75)]}
    [path] = folder(tmp_path).iterdir()
    assert path.name.startswith("events.out.tfevents.")
    assert events(path)[0].file_version == "brain.Event:2"


def test_a_trial_has_parameters_and_an_end_unless_it_failed(tmp_path: Path, hold: Hold) -> None:
    board = TensorBoard(tmp_path, hold)
    board.write(TRIAL, PROXY)
    assert parameters(folder(tmp_path)) == {"arm": "svp", "seed": 1.0, "mode": "svp", "proxy.lr": 0.5, "flag": True}
    board.ended(TRIAL, failed=True)
    assert len(sessions(folder(tmp_path))) == 1
    board.ended(TRIAL, failed=False)
    start, end = sessions(folder(tmp_path))
    assert start.HasField("session_start_info")
    assert end.HasField("session_end_info")


def test_no_file_stays_open(tmp_path: Path, hold: Hold) -> None:
    board = TensorBoard(tmp_path, hold)
    for seed in range(5):
        board.write(LoggedTrial(f"svp-seed{seed}", "svp", seed), PROXY)
    # Ray may open and close others in this process meanwhile.
    opened = {Path(file.path).name for file in psutil.Process().open_files()}
    assert not any(name.startswith("events.out.tfevents") for name in opened)


def test_a_later_process_knows_what_is_there_and_adds_a_file_of_its_own(tmp_path: Path, hold: Hold) -> None:
    TensorBoard(tmp_path, hold).write(TRIAL, PROXY)
    later = TensorBoard(tmp_path, hold)
    assert later.holds(TRIAL, [*PROXY, *FINAL]) == {point.key for point in PROXY}
    later.write(TRIAL, FINAL)
    assert len(list(folder(tmp_path).iterdir())) == 2
    assert curves(folder(tmp_path)) == {"accuracy/proxy": [(20, 0.5), (30, 0.625)], "accuracy/final": [(20, 0.75)]}


@pytest.mark.parametrize("cut", [1, 5, 20])
def test_a_record_that_was_cut_short_is_written_again_by_the_next_process(tmp_path: Path, hold: Hold, cut: int) -> None:
    TensorBoard(tmp_path, hold).write(TRIAL, PROXY)
    [path] = folder(tmp_path).iterdir()
    path.write_bytes(path.read_bytes()[:-cut])
    assert TensorBoard(tmp_path, hold).holds(TRIAL, PROXY) == {PROXY[0].key}


def test_a_file_that_is_damaged_is_read_up_to_there(tmp_path: Path, hold: Hold) -> None:
    TensorBoard(tmp_path, hold).write(TRIAL, PROXY)
    [path] = folder(tmp_path).iterdir()
    content = bytearray(path.read_bytes())
    content[-10] ^= 255
    path.write_bytes(content)
    assert TensorBoard(tmp_path, hold).holds(TRIAL, PROXY) == {PROXY[0].key}


def test_who_was_fenced_out_writes_nothing(tmp_path: Path, hold: Hold) -> None:
    board = TensorBoard(tmp_path, hold)
    (hold.folder / "lock").unlink()
    with pytest.raises(SupersededError):
        board.write(TRIAL, PROXY)
    assert not folder(tmp_path).exists()


def test_a_full_disk_is_an_error_of_storage_and_a_file_in_the_way_is_not(
    tmp_path: Path, hold: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    board = TensorBoard(tmp_path, hold)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(StorageError, match="disk is full"):
            board.write(TRIAL, PROXY)
    (tmp_path / "tensorboard").rename(tmp_path / "away")
    (tmp_path / "tensorboard").write_text("mine")
    with pytest.raises(RunDirectoryError):
        TensorBoard(tmp_path, hold).write(TRIAL, PROXY)
