"""The on-disk cache: entries of checksummed parts under content keys, on a local disk or any fsspec URI.

Layout: `ROOT/format.json`, `ROOT/KIND/KEY/entry.json`, `ROOT/KIND/KEY/PART-CHECKSUM.SUFFIX`. A part's name carries the
checksum of its bytes, so a truncated or altered file betrays itself, and two writers of one part never harm each
other: each writes under a name of its own and renames it to the final one.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from asvp.errors import CacheError, ConfigError

FORMAT = 1
_PART = re.compile(r"^(?P<part>[\w.]+)-(?P<checksum>[0-9a-f]{32})\.(?P<suffix>\w+)$")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class DamagedPartError(CacheError):
    """A part whose bytes are not those that were written."""

    exit_code = 1


@dataclass(frozen=True)
class EntryInfo:
    """What `asvp cache ls` shows of an entry: sizes in bytes, times in seconds since the epoch."""

    kind: str
    key: str
    parts: int
    nbytes: int
    used: float
    description: dict[str, Any]


@dataclass(frozen=True)
class CacheEntry:
    """One key's parts; a small picklable description that any process can open.

    Attributes
    ----------
    root : str
        Local folder or fsspec URI.
    kind : str
        "features", "models" or "teams".
    key : str
    """

    root: str
    kind: str
    key: str

    def parts(self) -> dict[str, str]:
        """Names of the parts that are stored, each with its file name."""
        filesystem, folder = self._open()
        found: dict[str, str] = {}
        for path in sorted(_listing(filesystem, folder)):
            match = _PART.match(os.path.basename(path))
            if match:
                found.setdefault(match["part"], os.path.basename(path))
        return found

    def read(self, part: str, file_name: str | None = None) -> pa.Buffer:
        """The bytes of a part, memory-mapped where the cache is local, after their checksum has been compared.

        Raises
        ------
        DamagedPartError
            If the part is missing, truncated or altered. A damaged file is removed, so that it is made anew.
        """
        filesystem, folder = self._open()
        name = file_name or self.parts().get(part)
        match = _PART.match(name or "")
        if name is None or match is None:
            raise DamagedPartError("the part is not stored", key=f"{self.kind}/{self.key}/{part}")
        path = f"{folder}/{name}"
        try:
            data = _mapped(path) if isinstance(filesystem, LocalFileSystem) else pa.py_buffer(filesystem.cat_file(path))
        except (OSError, pa.ArrowInvalid) as error:
            raise DamagedPartError(f"cannot be read: {error}", key=path) from None
        if _checksum(data) != match["checksum"]:
            filesystem.rm(path)
            raise DamagedPartError(
                "the file is truncated or altered: its checksum differs", key=path, mend="It is removed and made anew"
            )
        return data

    def write(self, part: str, data: pa.Buffer | bytes, suffix: str) -> str:
        """Store a part atomically; return its file name.

        Raises
        ------
        CacheError
            If the disk is full or the folder is not writable.
        """
        filesystem, folder = self._open()
        name = f"{part}-{_checksum(data)}.{suffix}"
        try:
            _mark_format(self.root)
            _put(filesystem, f"{folder}/{name}", data)
        except OSError as error:
            raise _write_error(error, f"{self.root}") from None
        return name

    def describe(self, description: dict[str, Any]) -> None:
        """Write what the entry is; also marks it as used now.

        A cache that is full or may only be read serves all the same, so a description that cannot be written is let go.
        """
        filesystem, folder = self._open()
        with suppress(OSError):
            _put(filesystem, f"{folder}/entry.json", json.dumps({**description, "used": time.time()}).encode())

    def description(self) -> dict[str, Any]:
        """What was written by `describe`, or nothing."""
        filesystem, folder = self._open()
        try:
            stored = json.loads(filesystem.cat_file(f"{folder}/entry.json"))
        except (OSError, ValueError):
            return {}
        return stored if isinstance(stored, dict) else {}

    def remove(self) -> None:
        """Remove the entry and all its parts."""
        filesystem, folder = self._open()
        if filesystem.exists(folder):
            filesystem.rm(folder, recursive=True)

    def _open(self) -> tuple[fsspec.AbstractFileSystem, str]:
        filesystem, path = _filesystem(self.root)
        return filesystem, f"{path}/{self.kind}/{self.key}"


class Cache:
    """The cache as a whole.

    Parameters
    ----------
    root : str
        Local folder (~ is understood) or fsspec URI.
    limit : str, int or None
        Size in bytes, or such as "200GB", kept by evicting what was used least recently.

    Raises
    ------
    CacheError
        If the root holds a cache of a newer format, or cannot be used.
    ConfigError
        If the limit is not understood.
    """

    def __init__(self, root: str, limit: str | int | None = None) -> None:
        self.root = os.path.abspath(os.path.expanduser(root)) if "://" not in root else root
        self.limit = parse_size(limit)
        self._check_format()

    def entry(self, kind: str, key: str) -> CacheEntry:
        """The entry of a key, stored or not."""
        return CacheEntry(self.root, kind, key)

    def entries(self) -> list[EntryInfo]:
        """All entries, the most recently used first."""
        filesystem, root = _filesystem(self.root)
        found = []
        for kind in ("features", "models", "teams"):
            for folder in _listing(filesystem, f"{root}/{kind}"):
                entry = self.entry(kind, os.path.basename(folder))
                files = _listing(filesystem, folder, detail=True)
                description = entry.description()
                found.append(
                    EntryInfo(
                        kind=kind,
                        key=entry.key,
                        parts=sum(1 for file in files if _PART.match(os.path.basename(file["name"]))),
                        nbytes=sum(int(file["size"] or 0) for file in files),
                        used=float(description.pop("used", 0.0)),
                        description=description,
                    )
                )
        return sorted(found, key=lambda info: info.used, reverse=True)

    def verify(self) -> Iterator[tuple[str, DamagedPartError | None]]:
        """Compare every part with its checksum; yield its name and what is wrong with it, if anything."""
        for info in self.entries():
            entry = self.entry(info.kind, info.key)
            for part, file_name in entry.parts().items():
                try:
                    entry.read(part, file_name)
                except DamagedPartError as error:
                    yield f"{info.kind}/{info.key}/{file_name}", error
                else:
                    yield f"{info.kind}/{info.key}/{file_name}", None

    def prune(self, limit: int | None = None, keep: frozenset[str] = frozenset()) -> list[EntryInfo]:
        """Evict least recently used entries until the size is within the limit; return what went.

        Entries whose key is in `keep`, and those used within the last minute (another run may be writing them), stay.
        """
        bound = self.limit if limit is None else limit
        if bound is None:
            return []
        entries = self.entries()
        size = sum(info.nbytes for info in entries)
        evicted = []
        for info in reversed(entries):
            if size <= bound:
                break
            if info.key in keep or time.time() - info.used < _IN_USE_SECONDS:
                continue
            self.entry(info.kind, info.key).remove()
            size -= info.nbytes
            evicted.append(info)
        return evicted

    def _check_format(self) -> None:
        filesystem, root = _filesystem(self.root)
        try:
            stored = json.loads(filesystem.cat_file(f"{root}/format.json"))["format"]
        except FileNotFoundError:
            _check_writable(filesystem, root)
            return
        except OSError as error:
            raise _write_error(error, self.root) from None
        except (ValueError, KeyError, TypeError):
            raise CacheError(
                "format.json is not readable", key="extraction.cache", value=self.root, mend="Use another folder"
            ) from None
        if stored > FORMAT:
            raise CacheError(
                f"the cache was made by a newer version (format {stored}, this one reads {FORMAT})",
                key="extraction.cache",
                value=self.root,
                mend="Update asvp, or use another folder",
            )


_IN_USE_SECONDS = 60.0


def parse_size(size: str | int | None) -> int | None:
    """Bytes of a size such as 500, "500MB" or "1.5 TB".

    Raises
    ------
    ConfigError
        If it is not understood.
    """
    if size is None or isinstance(size, int):
        return size
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKmMgGtT]?[bB]?)\s*", size)
    unit = match[2].upper() if match else ""
    unit = unit if not unit or unit.endswith("B") else f"{unit}B"
    if match is None or unit not in _UNITS:
        raise ConfigError("is no size", key="extraction.cache_limit", value=size, mend="Write for example 200GB")
    return int(float(match[1]) * _UNITS[unit])


def content_key(*parts: Any) -> str:
    """A key over JSON-like values: equal for equal values, 32 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _checksum(data: pa.Buffer | bytes) -> str:
    return hashlib.blake2b(memoryview(data), digest_size=16).hexdigest()


@lru_cache(maxsize=64)
def _filesystem(root: str) -> tuple[fsspec.AbstractFileSystem, str]:
    try:
        filesystem, path = fsspec.core.url_to_fs(root)
    except (ImportError, ValueError) as error:
        raise CacheError(
            f"the URI cannot be opened: {error}",
            key="extraction.cache",
            value=root,
            mend="Use a local folder, or install the file system's package",
        ) from None
    return filesystem, path.rstrip("/")


@lru_cache(maxsize=64)
def _mark_format(root: str) -> None:
    """Say once which format the cache has."""
    filesystem, path = _filesystem(root)
    if not filesystem.exists(f"{path}/format.json"):
        _put(filesystem, f"{path}/format.json", json.dumps({"format": FORMAT}).encode())


def _check_writable(filesystem: fsspec.AbstractFileSystem, root: str) -> None:
    if not isinstance(filesystem, LocalFileSystem):
        return
    path = Path(root)
    existing = next(folder for folder in (path, *path.parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise CacheError(
            "is not a folder that can be written",
            key="extraction.cache",
            value=root,
            mend="Name another folder, or null for no cache",
        )


def _listing(filesystem: fsspec.AbstractFileSystem, folder: str, *, detail: bool = False) -> list[Any]:
    try:
        return list(filesystem.ls(folder, detail=detail, refresh=True))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _mapped(path: str) -> pa.Buffer:
    if os.path.getsize(path) == 0:
        raise OSError(errno.EIO, "the file is empty", path)
    with pa.memory_map(path, "r") as file:
        return file.read_buffer()


def _put(filesystem: fsspec.AbstractFileSystem, path: str, data: pa.Buffer | bytes) -> None:
    """Write a file so that a reader sees all of it or nothing (object stores do so by themselves)."""
    if not isinstance(filesystem, LocalFileSystem):
        filesystem.pipe_file(path, bytes(memoryview(data)))
        return
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(memoryview(data))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise


def _write_error(error: OSError, root: str) -> CacheError:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return CacheError(
        "the disk is full" if full else f"cannot be written: {error.strerror or error}",
        key="extraction.cache",
        value=root,
        mend="Free space, set extraction.cache_limit, or name another folder",
    )
