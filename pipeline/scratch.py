"""Temporary folders of this machine, and those that killed processes have left there."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from asvp.files import write_error
from asvp.holds import machine

_PREFIX = "asvp-"
_OWNER = ".asvp-owner"
"""Names the machine, and is locked for as long as the folder's process lives."""


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A temporary folder for as long as the block lasts; first, those that killed processes have left are removed.

    Raises
    ------
    StorageError, RunDirectoryError
        If none can be made: there is no room, or the temporary folder cannot be written.
    """
    _remove_left()
    try:
        folder = tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True)
    except OSError as error:
        raise write_error(error, Path(tempfile.gettempdir())) from None
    with folder as name, _marked(Path(name)):
        yield Path(name)


@contextmanager
def _marked(folder: Path) -> Iterator[None]:
    """Say whose a folder is. Where that cannot be said, on a file system without locks, nobody ever removes it."""
    coming = folder / f"{_OWNER}.tmp"
    lock: IO[str] | None = None
    with suppress(OSError):
        lock = coming.open("w", encoding="ascii")
        lock.write(machine())
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever finds it finds it locked.
        coming.rename(folder / _OWNER)
    try:
        yield
    finally:
        if lock is not None:
            with suppress(OSError):
                lock.close()


def _remove_left() -> None:
    with suppress(OSError):
        for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
            if _is_left(folder):
                shutil.rmtree(folder, ignore_errors=True)


def _is_left(folder: Path) -> bool:
    """Whether it is one of this user's, of a process of this machine that lives no longer."""
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            return False
        with (folder / _OWNER).open("rb") as owner:
            fcntl.flock(owner, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return owner.read().decode("ascii", "replace") == machine()
    except OSError:
        return False
