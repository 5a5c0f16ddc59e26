"""Files of a cache, on a local disk or any fsspec URI: the one place where what a file system raises becomes ours.

The clients behind fsspec (botocore, gcsfs, aiohttp, ...) raise errors of their own that are no OSError, so whatever
comes out of a call is turned into a CacheError here. That a file is not there (any more) is no error: other processes
write and evict at the same time. Nor may a store that does not answer hold up the work for which it is a convenience:
the clients' patience is bounded, and a store that was waited for in vain is left alone for a while.
"""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from asvp.errors import CacheError
from asvp.features.lateness import waiting
from asvp.files import is_full, require_makeable

_KEY = "extraction.cache"
_TRIES = 5
"""A folder may be swept away as empty just before the first file is written into it."""
_CONNECT_SECONDS = 5.0
_SILENCE_SECONDS = 15.0
"""For which a client waits for the next byte."""
_ATTEMPTS = 3
"""Of a client, for each request."""
_VAIN_SECONDS = 1.0
"""A failure that took less is no reason to ask less often: a refusal comes at once, perhaps of writing alone."""
_REST = 10.0
"""For how long a store is left alone, as a multiple of the time that it was waited for in vain."""
_ADDRESS = re.compile(r"(https?://[^/\s\"']+)/[^\s\"']*")
BUCKETS = ("s3", "s3a", "gs", "gcs")
"""Schemes of URIs that begin with something that is not made by writing into it."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a folder: its name, its bytes, and when it was written (seconds since the epoch; None: not told)."""

    name: str
    nbytes: int
    written: float | None


@dataclass(frozen=True)
class Listing:
    """What a folder holds; `exists` is False where there is none."""

    folders: tuple[str, ...] = ()
    files: tuple[StoredFile, ...] = ()
    exists: bool = True


class Store:
    """A root folder and what is done with the files below it. Paths are relative, with slashes.

    Parameters
    ----------
    root : str
        Absolute local folder, or fsspec URI.

    Raises
    ------
    CacheError
        From every method but those that say otherwise, if the file system fails.
    """

    def __init__(self, root: str) -> None:
        self.root = root
        self._rests_until, self._failure = 0.0, ("", "")
        with self._ours("cannot be opened", mend="Use a local folder, or install the file system's package"):
            self._filesystem, base = open_filesystem(root)
        self._base = base.rstrip("/")

    @property
    def local(self) -> bool:
        """Whether files can be memory-mapped and renamed."""
        return isinstance(self._filesystem, LocalFileSystem)

    def read(self, path: str) -> pa.Buffer | None:
        """The bytes of a file, memory-mapped where the store is local; None where there is none."""
        with self._ours("cannot be read", at=path):
            try:
                if not self.local:
                    return pa.py_buffer(self._filesystem.cat_file(self._full(path)))
                return _mapped(self._full(path))
            except FileNotFoundError:
                return None
        raise AssertionError("the boundary above raises")

    def exists(self, path: str) -> bool:
        """Whether there is such a file."""
        with self._ours("cannot be read", at=path):
            return bool(self._filesystem.exists(self._full(path)))
        raise AssertionError("the boundary above raises")

    def write(self, path: str, data: pa.Buffer | bytes) -> None:
        """Write a file so that a reader sees all of it or nothing (object stores do so by themselves)."""
        with self._ours("cannot be written", at=path):
            if self.local:
                _write_and_rename(Path(self._full(path)), data)
            else:
                self._filesystem.pipe_file(self._full(path), bytes(memoryview(data)))

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with self._ours("cannot be removed", at=path), suppress(FileNotFoundError):
            self._filesystem.rm_file(self._full(path))

    def remove_if_empty(self, folder: str) -> None:
        """Remove a local folder that holds nothing; folders of an object store go with their last file."""
        if self.local:
            with suppress(OSError):
                os.rmdir(self._full(folder))

    def listing(self, folder: str = "") -> Listing:
        """Names in a folder, sorted."""
        with self._ours("cannot be listed", at=folder):
            try:
                found = self._filesystem.ls(self._full(folder), detail=True, refresh=True)
            except FileNotFoundError:
                return Listing(exists=False)
            except NotADirectoryError:
                return Listing()
            named = sorted((os.path.basename(info["name"].rstrip("/")), info) for info in found)
            return Listing(
                tuple(name for name, info in named if name and info["type"] == "directory"),
                tuple(
                    StoredFile(name, int(info.get("size") or 0), written_at(info))
                    for name, info in named
                    if info["type"] == "file" and info["name"].rstrip("/") != self._full(folder)
                ),
            )
        raise AssertionError("the boundary above raises")

    def require_writable(self) -> None:
        """Raise a CacheError where a root cannot be made: no local folder that can be written, or in no bucket."""
        if not self.local:
            self._require_bucket()
            return
        with self._ours("cannot be used"):
            path = Path(self._base)
            existing = next(folder for folder in (path, *path.parents) if os.path.lexists(folder))
            good = existing.is_dir() and os.access(existing, os.W_OK | os.X_OK)
        if good and existing != path:
            try:
                require_makeable(existing)
            except OSError as error:
                # A full disk is told of when something is written.
                good = is_full(error)
        if not good:
            raise CacheError(
                "is not a folder that can be written",
                key=_KEY,
                value=self.root,
                mend="Name another folder, or null for no cache",
            )

    def _require_bucket(self) -> None:
        if self.root.partition("://")[0] not in BUCKETS:
            return
        bucket = self._base.partition("/")[0]
        with self._ours("cannot be read"):
            there = self._filesystem.exists(bucket)
        if not there:
            raise CacheError(
                f"there is no bucket {bucket!r}",
                key=_KEY,
                value=self.root,
                mend="Make it, or name another, or null for no cache",
            )

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}" if path else self._base or "/"

    @contextmanager
    def _ours(self, what: str, mend: str | None = None, at: str = "") -> Iterator[None]:
        began = time.monotonic()
        if began < self._rests_until:
            message, mend = self._failure
            raise CacheError(message, key=_KEY, value=self.root, mend=mend)
        try:
            # Such as "to be read".
            with waiting(f"for {at or 'it'} {what.replace('cannot', 'to')} in {self.root}"):
                yield
        except CacheError:
            raise
        except Exception as error:
            told = _cache_error(error, what, self.root, mend)
            vain = time.monotonic() - began
            if vain > _VAIN_SECONDS and not _is_full(error):
                self._failure = told.message, told.mend or ""
                self._rests_until = time.monotonic() + _REST * vain
            raise told from None


@lru_cache(maxsize=64)
def open_store(root: str) -> Store:
    """The store of a root, opened once a process."""
    return Store(root)


def local_root(root: str) -> str:
    """The root of a cache as an absolute path; URIs as they are.

    Raises
    ------
    CacheError
        If it is empty, or its ~ stands for nobody's home.
    """
    if "://" in root:
        return root
    expanded = os.path.expanduser(root)
    if not root.strip() or "\0" in root or expanded.startswith("~"):
        raise CacheError("is no folder", key=_KEY, value=root, mend="Name a folder or URI, or null for no cache")
    return os.path.abspath(expanded)


def open_filesystem(root: str, **options: Any) -> tuple[Any, str]:
    """The file system of a root, with a client whose patience is bounded, and the path inside it."""
    if root.partition("://")[0] not in ("s3", "s3a"):
        return fsspec.core.url_to_fs(root, **options)  # type: ignore[no-any-return]
    patience = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _SILENCE_SECONDS,
        "retries": {"mode": "standard", "total_max_attempts": _ATTEMPTS},
    }
    given = fsspec.config.conf.get("s3", {}).get("config_kwargs", {})
    filesystem, base = fsspec.core.url_to_fs(root, config_kwargs={**patience, **given}, **options)
    # Its own attempts would come on top of those of botocore, each time.
    filesystem.retries = 1
    return filesystem, base


def _is_full(error: Exception) -> bool:
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def _cache_error(error: Exception, what: str, root: str, mend: str | None) -> CacheError:
    if _is_full(error):
        return CacheError(
            "the disk is full",
            key=_KEY,
            value=root,
            mend="Free space, set extraction.cache_limit, or name another folder",
        )
    remote = "Check the URI, the credentials and the network" if "://" in root else "Name another folder"
    return CacheError(f"{what}: {told_by(error)}", key=_KEY, value=root, mend=mend or f"{remote}, or null for no cache")


def told_by(error: Exception) -> str:
    """What a client's error says, in a line."""
    text = (getattr(error, "strerror", None) or str(error)).strip().splitlines()
    # A client names the whole address of one file, perhaps signed; what does not answer is its host.
    told = _ADDRESS.sub(r"\1", text[0]) if text else type(error).__name__
    # The names of other packages' errors often say more than their texts.
    kind = "" if isinstance(error, OSError) else f"{type(error).__name__}: "
    return f"{kind}{told}"


def _mapped(path: str) -> pa.Buffer:
    if os.path.getsize(path) == 0:
        return pa.py_buffer(b"")
    with pa.memory_map(path, "r") as file:
        return file.read_buffer()


def _write_and_rename(target: Path, data: pa.Buffer | bytes) -> None:
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    for left in reversed(range(_TRIES)):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = temporary.open("wb")
        except FileNotFoundError:
            if not left:
                raise
        else:
            break
    try:
        with file:
            file.write(memoryview(data))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def written_at(info: Mapping[str, Any]) -> float | None:
    """When a file was written (seconds since the epoch), by whichever name its file system tells it."""
    for name in ("mtime", "LastModified", "last_modified", "updated", "created"):
        told = info.get(name)
        if isinstance(told, datetime):
            return told.timestamp()
        if isinstance(told, (int, float)) and not isinstance(told, bool):
            return float(told)
        if isinstance(told, str):
            with suppress(ValueError):
                return datetime.fromisoformat(told).timestamp()
    return None
