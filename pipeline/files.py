"""Files that are there whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asvp.errors import RunDirectoryError, WorkError


def write_atomically(path: Path, write: Callable[[Path], None]) -> None:
    """Have a file written under another name, then rename it.

    Raises
    ------
    WorkError
        If the disk is full; the file that was there before stays as it was.
    RunDirectoryError
        If the folder cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise WorkError(
                "the disk is full; what was finished before is kept",
                key=str(path),
                mend="Free space and go on with --resume",
            ) from None
        raise RunDirectoryError(f"cannot be written: {error.strerror or error}", key=str(path)) from None


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically."""
    write_atomically(path, lambda temporary: _write(temporary, text))


def write_json(path: Path, content: Any) -> None:
    """Write JSON atomically, indented."""
    write_text(path, json.dumps(content, indent=2) + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
