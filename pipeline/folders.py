"""Folders that asvp writes into: their names are settled, and what is touched in them is shown to be its own."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from asvp.errors import AsvpError, RunDirectoryError
from asvp.files import (
    TEMPORARY,
    is_full,
    parse_json,
    require_makeable,
    temporary_beside,
    write_atomically,
    write_error,
    write_json,
)

MARKER = ".asvp.json"
"""Says that a folder is asvp's, of which kind, and which files in it were written with which content."""

_LONGEST_NAME = 255
_LONGEST_PATH = 4000
"""Bytes; Linux has 4,096 for a whole path, and the files of a run need some of them."""


def settle(folder: str | os.PathLike[str], *, key: str = "--out") -> Path:
    """The absolute path that a user's name for a folder stands for.

    Parameters
    ----------
    folder : str or path
        ~ and file:// are understood.
    key : str
        The option or argument that holds the name, for messages.

    Raises
    ------
    RunDirectoryError
        If it can be no folder: empty, a URI, too long, with characters that no name should have, or below a file.
    """
    if not isinstance(folder, (str, os.PathLike)) or not isinstance(os.fspath(folder), str):
        raise RunDirectoryError("is no path", key=key, value=folder, mend="Name a folder")
    text = os.fspath(folder)
    # Path("") is the present folder, which is nobody's wish.
    if not text.strip():
        raise RunDirectoryError("is empty", key=key, value=text, mend="Name a folder")
    if text.startswith("file:///"):
        text = unquote(text.removeprefix("file://"))
    if "://" in text or text.startswith(("file:/", "s3:/", "gs:/", "gcs:/", "http:/", "https:/")):
        raise RunDirectoryError(
            "is a URI, and here a folder is needed",
            key=key,
            value=text,
            mend="Name a folder; a URI of asvp.run, asvp.sweep and asvp.compare is given as text, with both slashes",
        )
    if not text.isprintable():
        raise RunDirectoryError(
            "holds a line break, a control character or bytes that are no text",
            key=key,
            value=text,
            mend="Name a folder in letters that can be read",
        )
    try:
        path = Path(os.path.abspath(Path(text).expanduser()))
    except RuntimeError:
        raise RunDirectoryError("begins with a user that is not known", key=key, value=text) from None
    except OSError as error:
        raise RunDirectoryError(f"the present folder is gone: {error.strerror}", key=key, value=text) from None
    _require_short(path, key)
    return path


def require_room(path: Path, *, key: str = "--out") -> None:
    """Raise a RunDirectoryError unless a folder is there, or can be made, and can be written; leave nothing."""
    existing = path
    while not os.path.lexists(existing):
        existing = existing.parent
    if not existing.is_dir():
        what = "a link that leads nowhere" if existing.is_symlink() else "a file, not a folder"
        raise RunDirectoryError(
            f"cannot be written: it is {what}", key=key, value=str(existing), mend="Name another folder"
        )
    if not os.access(existing, os.W_OK | os.X_OK | os.R_OK):
        raise RunDirectoryError("is not writable", key=key, value=str(existing), mend="Name another folder")
    if existing == path:
        return
    try:
        require_makeable(existing)
    except OSError as error:
        # A full disk is told of by whoever writes there.
        if not is_full(error):
            raise RunDirectoryError(
                f"cannot be made: {error.strerror}", key=key, value=str(path), mend="Name another folder"
            ) from None


def make_folder(path: Path, *, key: str = "--out") -> None:
    """Make a folder and those above it.

    Raises
    ------
    RunDirectoryError, WorkError
        If it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise write_error(error, path, "cannot be made", key=key) from None


def entries(path: Path) -> set[str]:
    """Names of what lies in a folder, without the temporary files of a process that was killed while it wrote."""
    try:
        return {name for name in os.listdir(path) if not TEMPORARY.fullmatch(name)}
    except FileNotFoundError:
        return set()


def read_marker(path: Path) -> dict[str, Any] | None:
    """What the marker in a folder says; None where there is none that can be read."""
    try:
        marker = parse_json((path / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    fit = isinstance(marker, dict) and isinstance(marker.get("asvp"), str) and isinstance(marker.get("files"), dict)
    return marker if fit else None


def mark(path: Path, kind: str, version: str, files: Iterable[str] = ()) -> None:
    """Mark a folder as asvp's, of a kind such as "sweep"; `files` are names of what asvp wrote there."""
    marker = read_marker(path)
    written = {} if marker is None else marker["files"]
    write_json(
        path / MARKER, {"asvp": version, "kind": kind, "files": {**{name: [] for name in sorted(files)}, **written}}
    )


def write_owned(
    path: Path,
    contents: Mapping[str, bytes],
    *,
    version: str,
    key: str,
    known: bool = False,
    write: Callable[[Path, Callable[[Path], Any]], None] = write_atomically,
) -> None:
    """Write files into a folder that is empty, or marked, or else known to be asvp's; all of them or none.

    Parameters
    ----------
    path : Path
    contents : mapping of str to bytes
        What each file is to hold.
    version : str
        Of asvp.
    key : str
        The option that names the folder.
    known : bool
        Whether the folder was shown to be asvp's in another way than by its marker.
    write : callable
        Writes a file: its path, and what is given another path to write.

    Raises
    ------
    RunDirectoryError
        If the folder, or a file in it that would be replaced, cannot be shown to be asvp's.
    WorkError
        If the disk is full.
    """
    require_room(path, key=key)
    marker = read_marker(path)
    there = entries(path)
    if there and marker is None and not known:
        raise RunDirectoryError(
            f"is not empty, and what lies there ({min(there)}) was not written by asvp",
            key=key,
            value=str(path),
            mend="Name a new or empty folder",
        )
    written: dict[str, list[str]] = {} if marker is None else marker["files"]
    kept = {name: _as_written(path / name, written.get(name, [])) for name in contents}
    for name, digest in kept.items():
        if digest is None and os.path.lexists(path / name):
            raise RunDirectoryError(
                f"{name} there was not written by asvp, or was changed since, and is not replaced",
                key=key,
                value=str(path),
                mend=f"Move {name} away, or name another folder",
            )
    make_folder(path, key=key)
    # The marker goes first: whatever is in the folder when the process dies, it is known to be ours.
    now = {name: [*filter(None, [kept[name]]), _digest(content)] for name, content in contents.items()}
    kind = "report" if marker is None else marker.get("kind", "report")
    told = json.dumps({"asvp": version, "kind": kind, "files": {**written, **now}}, indent=2) + "\n"
    for name, content in {MARKER: told.encode(), **contents}.items():
        write(path / name, lambda temporary, content=content: temporary.write_bytes(content))  # type: ignore[misc]


def replace_folder(
    folder: Path,
    fill: Callable[[Path], None],
    *,
    ours: Callable[[Path], bool],
    temporary: Callable[[Path], Path] = temporary_beside,
) -> None:
    """Have a folder filled under another name, then put it in place of the one that is there.

    Parameters
    ----------
    folder : Path
    fill : callable
        Given the folder to fill, which exists and is empty.
    ours : callable
        Given the filled one, whether the folder that is there may be removed; asked if there is one.
    temporary : callable
        Gives the other name, in the same file system.

    Raises
    ------
    RunDirectoryError
        If the folder that is there is not to be removed, or nothing can be written.
    StorageError
        If the disk is full, or storage went away. What was there before stays as it was, and nothing is left behind.
    """
    filled = temporary(folder)
    try:
        filled.mkdir(parents=temporary is temporary_beside)
        fill(filled)
        if os.path.lexists(folder):
            if not ours(filled):
                raise foreign_folder(folder)
            before = temporary(folder)
            folder.rename(before)
            filled.rename(folder)
            shutil.rmtree(before, ignore_errors=True)
        else:
            filled.rename(folder)
    except AsvpError:
        raise
    except Exception as error:
        # Whatever the writers of checkpoints raise: OSError, SafetensorError, and others.
        raise write_error(error, folder) from error
    finally:
        shutil.rmtree(filled, ignore_errors=True)


def foreign_folder(folder: Path) -> RunDirectoryError:
    """The error for a folder in the way that cannot be shown to be ours."""
    return RunDirectoryError(
        "is in the way, and it holds files that asvp did not write, so it is not replaced",
        key=str(folder),
        mend="Move it away, and go on with --resume",
    )


def sweep_up(path: Path, *, but: Path | None = None) -> None:
    """Remove what processes that were killed while they wrote have left: files and folders with our temporary names.

    Parameters
    ----------
    path : Path
    but : Path, optional
        One of them that is in use.
    """
    with suppress(OSError):
        for name in os.listdir(path):
            if not TEMPORARY.fullmatch(name) or path / name == but:
                continue
            left = path / name
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _require_short(path: Path, key: str) -> None:
    for name in path.parts:
        # The temporary names of files are longer than the files' own, but those of a folder's parts are the user's.
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise RunDirectoryError(
                f"has a name of {len(os.fsencode(name))} bytes, more than the {_LONGEST_NAME} a name may have",
                key=key,
                value=str(path),
                mend="Name a shorter one",
            )
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise RunDirectoryError("is too long for a path", key=key, value=str(path), mend="Name a shorter one")


def _as_written(path: Path, digests: Any) -> str | None:
    """The digest of a file, if it is one of those it was written with."""
    try:
        digest = _digest(path.read_bytes())
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EISDIR, errno.ELOOP, errno.EACCES):
            return None
        raise write_error(error, path, "cannot be read") from None
    return digest if isinstance(digests, list) and digest in digests else None


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()
