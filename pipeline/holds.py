"""Whose a folder is while somebody is at work in it, on any file system: one holder, who can be fenced out.

A holder has a folder of its own in the place it holds. What it writes is written in there first and renamed from there
to where it belongs. Who takes the place over removes that folder, and from then on the holder before can write nothing,
at whatever moment it was stopped: its renames have nothing left to rename.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from asvp.errors import AsvpError, RunDirectoryError, SupersededError
from asvp.files import parse_json, write_atomically, write_error

BEAT = 4.0
"""Seconds between two signs of life of a holder."""
SILENCE = 20.0
"""Seconds without one after which a holder on another machine is taken for dead."""
_LOOK = 0.25
_TRIES = 20


class Hold:
    """A place that is held.

    Parameters
    ----------
    folder : Path
        The holder's own.
    place : Path
        What is held, for messages.
    """

    def __init__(self, folder: Path, place: Path) -> None:
        self.folder = folder
        self.place = place

    @property
    def mandate(self) -> str:
        """What gives others the right to take over what lies below, for as long as this is held."""
        return str(self.folder)

    def require(self) -> None:
        """Raise a SupersededError if somebody else has taken the place over."""
        if not (self.folder / "lock").exists():
            raise superseded(self.place)

    def temporary(self, path: Path) -> Path:
        """A name in the holder's folder for what is to be renamed to a path."""
        return self.folder / f"{path.name[:150]}.{uuid.uuid4().hex}"

    def write(self, path: Path, write: Callable[[Path], Any]) -> None:
        """`write_atomically`, unless the place was taken over.

        Raises
        ------
        SupersededError
            If it was; nothing is written.
        """
        self.require()
        try:
            write_atomically(path, write, temporary=self.temporary)
        except AsvpError:
            self.require()
            raise

    def remove(self, path: Path) -> None:
        """Remove a file, unless the place was taken over; one that is not there is nothing to remove."""
        self.require()
        gone = self.temporary(path)
        try:
            path.rename(gone)
        except FileNotFoundError:
            self.require()
            return
        except OSError as error:
            raise write_error(error, path, "cannot be removed") from None
        gone.unlink(missing_ok=True)


def superseded(place: Path | str) -> SupersededError:
    """The error of a holder that is one no longer."""
    return SupersededError(
        "a newer process has taken over here, and this one writes nothing any more", key="--out", value=str(place)
    )


@contextmanager
def held(at: Path, place: Path, *, mandate: Path | None = None, key: str = "--out") -> Iterator[Hold]:
    """Hold a place for as long as the block lasts, or the process lives.

    Parameters
    ----------
    at : Path
        A folder of the place, in the same file system, in which nothing else is called .held.*.tmp.
    place : Path
        What is held, for messages.
    mandate : Path, optional
        The folder of a hold above this one, which gives the right to take the place over at once from whoever has it;
        else a holder that lives is left alone.
    key : str
        The option that names the place.

    Raises
    ------
    RunDirectoryError
        If another process is at work there, or the folder cannot be written.
    SupersededError
        If the mandate has ended.
    """
    number = uuid.uuid4().hex
    folder = at / f".held.{number}.tmp"
    try:
        lock = _made(at / f".arriving.{number}.tmp", folder)
    except OSError as error:
        raise write_error(error, at, "cannot be held", key=key) from None
    stopped = threading.Event()
    try:
        for other in _holders(at):
            if other == folder:
                continue
            if mandate is None and is_at_work(other):
                raise RunDirectoryError(
                    "another process is at work here", key=key, value=str(place), mend="Wait for it, or stop it"
                )
            if mandate is not None and not mandate.exists():
                raise superseded(place)
            _fence(other)
        hold = Hold(folder, place)
        hold.require()
        threading.Thread(target=_beat, args=(folder, stopped), name="asvp sign of life", daemon=True).start()
        yield hold
    finally:
        stopped.set()
        lock.close()
        shutil.rmtree(folder, ignore_errors=True)


def is_held(at: Path) -> bool:
    """Whether somebody is at work in a place; told at once where it is a process of this machine."""
    return any(is_at_work(folder) for folder in _holders(at))


def is_at_work(folder: Path) -> bool:
    """Whether the holder whose folder this is lives: by its lock, and by its signs of life where that cannot tell."""
    try:
        with (folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        if _told(folder / "holder.json").get("machine") == machine():
            return False
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    except OSError:
        # A file system without locks.
        pass
    return _gives_signs(folder)


def _gives_signs(folder: Path) -> bool:
    """Whether a holder's sign of life changes while it is looked at; no two clocks are compared."""
    before, deadline = _sign(folder), time.monotonic() + SILENCE
    while time.monotonic() < deadline and folder.exists():
        if _sign(folder) != before:
            return True
        time.sleep(_LOOK)
    return False


def _sign(folder: Path) -> bytes:
    try:
        return (folder / "beat").read_bytes()
    except OSError:
        return b""


def _beat(folder: Path, stopped: threading.Event) -> None:
    count = 0
    while not stopped.wait(BEAT):
        count += 1
        try:
            (folder / "beat").write_text(str(count), encoding="ascii")
        except FileNotFoundError:
            return
        except OSError:
            # A full disk, or storage that is away: perhaps not for long.
            continue


def _made(arriving: Path, folder: Path) -> IO[bytes]:
    """Make a holder's folder, which is there with all that it holds or not at all; its lock, which is held."""
    arriving.mkdir()
    try:
        holder = {"machine": machine(), "host": socket.gethostname(), "pid": os.getpid()}
        (arriving / "holder.json").write_text(json.dumps(holder), encoding="utf-8")
        lock = (arriving / "lock").open("wb")
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        arriving.rename(folder)
    except BaseException:
        shutil.rmtree(arriving, ignore_errors=True)
        raise
    return lock


def _holders(at: Path) -> list[Path]:
    return sorted(at.glob(".held.*.tmp"))


def _fence(folder: Path) -> None:
    """Remove a holder's folder, also while the holder is writing in it."""
    for _ in range(_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
    # NFS keeps files that a process of this machine has open, and with them their folder; by another name.
    folder.rename(folder.with_name(f".past.{uuid.uuid4().hex}.tmp"))


def _told(path: Path) -> dict[str, Any]:
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def machine() -> str:
    """What this machine is known by until it starts again."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return socket.gethostname()
