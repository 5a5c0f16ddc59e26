"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from asvp.errors import AsvpError, RunDirectoryError, StorageError

TEMPORARY = re.compile(r"\..+\.[0-9a-f]{32}\.tmp")
"""Names that only `temporary_beside` gives."""

# What is raised by writers that are no Python tells the reason in its text alone.
_FULL = re.compile(
    r"No space left on device|Disk quota exceeded|File too large|(code:|os error) (27|28|122)\b", re.IGNORECASE
)

_AWAY = {errno.EIO, errno.ESTALE, errno.EROFS, errno.ENXIO, errno.ENODEV, errno.ENOTCONN, errno.ETIMEDOUT}
_AWAY |= {errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.EREMOTEIO} if hasattr(errno, "EREMOTEIO") else set()
"""What a disk or server gives that is not there any more, or lets nobody write any more."""


def parse_json(text: str | bytes) -> Any:
    """What JSON says; a ValueError for whatever is none, and for what is nested too deeply to be read."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("is nested too deeply") from None


def temporary_beside(path: Path) -> Path:
    """A name in the same folder that nobody else uses, for what is to be renamed when it is whole."""
    return path.with_name(f".{path.name[:150]}.{uuid.uuid4().hex}.tmp")


def write_atomically(
    path: Path, write: Callable[[Path], Any], *, temporary: Callable[[Path], Path] = temporary_beside
) -> None:
    """Have a file written under another name, then rename it.

    Parameters
    ----------
    path : Path
    write : callable
        Given the other name.
    temporary : callable
        Gives the other name, in the same file system.

    Raises
    ------
    StorageError
        If the disk is full, or storage went away; the file that was there before stays as it was.
    RunDirectoryError
        If the folder cannot be written.
    """
    other = temporary(path)
    try:
        write(other)
        with other.open("rb") as file:
            os.fsync(file.fileno())
        other.replace(path)
    except AsvpError:
        raise
    except Exception as error:
        # Whatever a library raises that was asked to write a file: OSError, ArrowException, SafetensorError.
        raise write_error(error, path) from error
    finally:
        with suppress(OSError):
            other.unlink(missing_ok=True)


def require_makeable(folder: Path) -> None:
    """Raise the OSError that making something in a folder would; what is made to find out is removed again.

    Rights alone do not tell: nobody makes a folder in /proc.
    """
    tried = temporary_beside(folder / "tried")
    tried.mkdir()
    tried.rmdir()


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def write_error(
    error: Exception, path: Path, what: str = "cannot be written", *, key: str | None = None
) -> StorageError | RunDirectoryError:
    """What an attempt to write has raised, as an error of ours.

    Parameters
    ----------
    error : Exception
    path : Path
        What was to be written.
    what : str
        What cannot be done with it.
    key : str, optional
        The option that names the path; None: the path itself is the key.
    """
    value = None if key is None else str(path)
    if is_full(error):
        return StorageError(
            f"{_limit(error)}; what was finished before is kept",
            key=key or str(path),
            value=value,
            mend="Free space and go on with --resume",
        )
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error) or type(error).__name__
    if isinstance(error, OSError) and error.errno in _AWAY:
        return StorageError(
            f"the storage has gone away: {reason}; what was finished before is kept",
            key=key or str(path),
            value=value,
            mend="Bring it back and go on with --resume",
        )
    mend = None if key is None else "Name another folder"
    return RunDirectoryError(f"{what}: {reason}", key=key or str(path), value=value, mend=mend)


def is_full(error: BaseException) -> bool:
    """Whether an error says that a disk, a quota or what one file may hold is full."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return True
    return bool(_FULL.search(str(error)))


def _limit(error: Exception) -> str:
    too_large = isinstance(error, OSError) and error.errno == errno.EFBIG
    return "no file may be so large here (ulimit -f tells more)" if too_large else "the disk is full"


def local_folder(name: str) -> Path | None:
    """The folder here that a name stands for, if there is one; ~ is understood."""
    if not name.strip():
        return None
    try:
        folder = Path(name).expanduser()
        return folder if folder.is_dir() else None
    except (OSError, RuntimeError, ValueError):
        # A name that is too long for a path, or ~ of a user that is not known.
        return None
