"""The files behind what a user wrote: a path, a folder, a URI or a built-in set."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.fs as pafs

from asvp.data.storage import (
    BUILTIN,
    Storage,
    StoredFile,
    builtin_sets,
    nearest,
    open_filesystem,
    reach,
)
from asvp.errors import DataError, first_line

_FIRST_RETRY_SECONDS = 8
"""A wrong bucket or missing credentials should show within seconds; a hiccup later in a run may take longer to mend."""


@dataclass(frozen=True)
class Listing:
    """What lies at a place.

    Attributes
    ----------
    storage : Storage
    files : list of StoredFile
        Sorted by path; of a folder all regular files on all levels, but those with a dot in front.
    is_folder : bool
    folders : list of str
        Names of the folders directly below, but those with a dot in front; an object store has none that are empty.
    hidden : list of str
        Paths of files that have a dot in front of their name or a folder's.
    not_plain : list of str
        Paths of what is no regular file: links that lead nowhere, sockets, devices.
    loops : list of str
        Paths of links to a folder that they lie in; they are not followed.
    leaving : set of str
        Paths of files that are reached by a link out of the folder, be it theirs or that of a folder on their way.
    """

    storage: Storage
    files: list[StoredFile]
    is_folder: bool
    folders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    not_plain: list[str] = field(default_factory=list)
    loops: list[str] = field(default_factory=list)
    leaving: set[str] = field(default_factory=set)

    def ending(self, suffixes: tuple[str, ...]) -> list[StoredFile]:
        """The files with one of some endings, in lower case."""
        return [file for file in self.files if file.path.lower().endswith(suffixes)]


def locate(value: str, *, key: str, split: str) -> Listing:
    """Find the files behind a path, folder, URI or `builtin:NAME`.

    Parameters
    ----------
    value : str
        As the user wrote it.
    key : str
        The config key it stands under, for messages.
    split : {"pool", "test"}
        Which file of a built-in set.

    Raises
    ------
    DataError
        If there is nothing there, or it cannot be reached.
    """
    if value.startswith(BUILTIN):
        return _locate_builtin(value, key, split)
    uri, filesystem, path, info = _found(value, key)
    if info.is_file:
        folder, _, name = path.rpartition("/")
        return Listing(Storage(uri, folder), [_stored(name, info)], False)
    storage = Storage(uri, path)
    if isinstance(filesystem, pafs.LocalFileSystem):
        return reach(lambda: _walk(storage, path, key, value), key, value)  # type: ignore[no-any-return]
    return reach(lambda: _listed(storage, filesystem, path), key, value)  # type: ignore[no-any-return]


def require_place(value: str, *, key: str, split: str) -> None:
    """Raise what `locate` would where nothing lies at a place, without a look at what lies there."""
    if value.startswith(BUILTIN):
        _locate_builtin(value, key, split)
    else:
        _found(value, key)


def _found(value: str, key: str) -> tuple[str, Any, str, Any]:
    """The URI of a file or folder, its file system, its path there, and what that tells of it."""
    if not value.strip():
        raise DataError("names nothing", key=key, value=value, mend=f"Give a file, a folder, a URI or {BUILTIN}NAME")
    uri = value if "://" in value else reach(lambda: str(Path(value).expanduser().absolute()), key, value)
    filesystem, path = reach(lambda: open_filesystem(uri, _FIRST_RETRY_SECONDS), key, value)
    path = path.rstrip("/") or "/"
    info = reach(lambda: filesystem.get_file_info([path])[0], key, value)
    if info.type == pafs.FileType.NotFound:
        reason = reach(lambda: _no_answer(filesystem, path), key, value)
        if reason is not None:
            mend = "Is the server there, and is the address right?"
            raise DataError(f"cannot be reached: {reason}", key=key, value=value, mend=mend)
        raise DataError("there is no such file or folder", key=key, value=value, mend=_near_path(filesystem, path))
    if not info.is_file and info.type != pafs.FileType.Directory:
        raise DataError("is neither a file nor a folder", key=key, value=value, mend="Give a file or a folder")
    return uri, filesystem, path, info


def _listed(storage: Storage, filesystem: Any, path: str) -> Listing:
    """The folder as the file system lists it."""
    listing = Listing(storage, [], True)
    tops: set[str] = set()
    for info in filesystem.get_file_info(pafs.FileSelector(path, recursive=True)):
        relative = info.path[len(path) :].lstrip("/")
        if not info.is_file:
            tops.update([relative] if info.type == pafs.FileType.Directory and "/" not in relative else [])
        elif _hidden(relative):
            listing.hidden.append(relative)
        else:
            listing.files.append(_stored(relative, info))
            tops.update([relative.partition("/")[0]] if "/" in relative else [])
    listing.files.sort(key=lambda file: file.path)
    listing.folders.extend(sorted(name for name in tops if not name.startswith(".")))
    return listing


def _walk(storage: Storage, root: str, key: str, value: str) -> Listing:
    """A local folder, walked by ourselves: the file system's own listing follows links in circles and drops dead ones.

    Raises
    ------
    DataError
        If a name is no UTF-8, so that no message, id or table could hold it.
    """
    listing = Listing(storage, [], True)
    paths: list[str] = []
    for relative, entry_kind, leaves in _entries(root):
        try:
            relative.encode()
        except UnicodeEncodeError:
            shown = os.fsencode(relative)
            mend = "Rename it"
            raise DataError(
                f"the name of a file in it is no UTF-8: {shown!r}", key=key, value=value, mend=mend
            ) from None
        if entry_kind == "folder":
            if "/" not in relative and not _hidden(relative):
                listing.folders.append(relative)
        elif entry_kind == "loop":
            listing.loops.append(relative)
        elif _hidden(relative):
            listing.hidden.append(relative)
        elif entry_kind == "other":
            listing.not_plain.append(relative)
        else:
            paths.append(relative)
            if leaves:
                listing.leaving.add(relative)
    listing.files.extend(file for file in storage.stat(sorted(paths)) if file is not None)
    for names in (listing.folders, listing.hidden, listing.not_plain, listing.loops):
        names.sort()
    return listing


def _entries(root: str) -> Iterator[tuple[str, str, bool]]:
    """Paths below a folder, what they are, and whether links lead out of it on their way.

    They are a file, folder, loop (a link to a folder it lies in) or other.
    """
    home = os.path.realpath(root).rstrip("/") + "/"
    waiting: list[tuple[str, frozenset[tuple[int, int]], bool]] = [("", frozenset([_identity(root)]), False)]
    while waiting:
        folder, above, outside = waiting.pop()
        with os.scandir(os.path.join(root, folder)) as entries:
            for entry in entries:
                relative = f"{folder}/{entry.name}" if folder else entry.name
                leaves = outside
                if entry.is_symlink():
                    leaves = not os.path.realpath(entry.path).startswith(home)
                if not entry.is_dir():
                    yield relative, "file" if entry.is_file() else "other", leaves
                    continue
                identity = _identity(entry.path)
                if identity in above:
                    yield relative, "loop", leaves
                    continue
                yield relative, "folder", leaves
                waiting.append((relative, above | {identity}, leaves))


def _identity(path: str) -> tuple[int, int]:
    state = os.stat(path)
    return state.st_dev, state.st_ino


def _no_answer(filesystem: Any, path: str) -> str | None:
    """Why a server did not tell whether there is a file; None where it told.

    fsspec's HTTP client calls every failure a missing file; what it failed of stands behind its error.
    """
    inner = getattr(getattr(filesystem, "handler", None), "fs", None)
    if inner is None or not {"http", "https"} & set(
        [inner.protocol] if isinstance(inner.protocol, str) else inner.protocol
    ):
        return None
    try:
        inner.info(path)
    except FileNotFoundError as error:
        cause = error.__cause__
        if cause is None or getattr(cause, "status", None) in (404, 410):
            return None
        return first_line(cause)
    return None


def _locate_builtin(value: str, key: str, split: str) -> Listing:
    name = value.removeprefix(BUILTIN)
    known = builtin_sets()
    if name not in known:
        near = nearest(name, known)
        raise DataError("is no built-in data set", key=key, value=value, mend=f"{near}Known: {', '.join(known)}")
    storage = Storage(value)
    return Listing(storage, [file for file in storage.stat([f"{split}.parquet"]) if file is not None], False)


def _stored(path: str, info: Any) -> StoredFile:
    return StoredFile(path, int(info.size or 0), info.mtime_ns)


def _hidden(relative: str) -> bool:
    return any(part.startswith(".") for part in relative.split("/"))


def _near_path(filesystem: Any, path: str) -> str:
    """A hint at a similar name in the same folder."""
    folder, _, name = path.rpartition("/")
    near = nearest(name, _names_in(filesystem, folder or "/"))
    return f"{near}Give a file, a folder, a URI or {BUILTIN}NAME"


def _names_in(filesystem: Any, folder: str) -> list[str]:
    try:
        return [info.base_name for info in filesystem.get_file_info(pafs.FileSelector(folder, allow_not_found=True))]
    except Exception:
        # Only a hint is lost.
        return []
