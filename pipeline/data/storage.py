"""Where files lie: a local disk, an object store, or this package; opened anew in every process."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from asvp.errors import AsvpError, DataError, first_line

BUILTIN = "builtin:"
_PART_BYTES = 4 << 20
_CONNECT_SECONDS, _SILENCE_SECONDS = 15, 60
"""How long a web server may take to answer, and how long it may say nothing while it sends."""


@dataclass(frozen=True)
class StoredFile:
    """A file of a storage: its path below the storage's base, its bytes, its time of change in ns (None: unknown)."""

    path: str
    size: int
    mtime_ns: int | None


class Storage:
    """A folder that any process can open from two strings.

    Parameters
    ----------
    uri : str
        An absolute local path, a URI, or `builtin:NAME`.
    base : str
        The folder as its file system names it; not used for `builtin:NAME`, which lies elsewhere in every installation.
    """

    def __init__(self, uri: str, base: str = "") -> None:
        self.uri = uri
        self.base = base

    def __getstate__(self) -> dict[str, str]:
        return {"uri": self.uri, "base": self.base}

    def __setstate__(self, state: dict[str, str]) -> None:
        self.uri, self.base = state["uri"], state["base"]

    @cached_property
    def filesystem(self) -> Any:
        """The pyarrow file system."""
        return pafs.LocalFileSystem() if self.uri.startswith(BUILTIN) else open_filesystem(self.uri)[0]

    @property
    def local(self) -> bool:
        """Whether files lie on a disk of this machine (or one mounted like it)."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def full(self, path: str) -> str:
        """The path by which the file system knows a file."""
        builtin = self.uri.startswith(BUILTIN)
        base = str(_builtin_folder(self.uri.removeprefix(BUILTIN))) if builtin else self.base.rstrip("/")
        return f"{base}/{path}"

    def shown(self, path: str) -> str:
        """The path as an error message should name it."""
        if self.uri.startswith(BUILTIN):
            return f"{self.uri}/{path}"
        scheme, mark, _ = self.uri.partition("://")
        full = self.full(path)
        # fsspec's web client has whole addresses for paths.
        return f"{scheme}://{full}" if mark and "://" not in full and not self.local else full

    def open(self, path: str) -> Any:
        """A random-access file; a memory map where the disk is local."""
        full = self.full(path)
        return pa.memory_map(full) if self.local else self.filesystem.open_input_file(full)

    def read(self, path: str, most: int | None = None) -> bytes:
        """All bytes of a file; a ValueError if it has more than `most`."""
        with self.filesystem.open_input_stream(self.full(path)) as stream:
            return read_all(stream, most)

    def stat(self, paths: list[str]) -> list[StoredFile | None]:
        """What is known of each file; None where there is none."""
        infos = self.filesystem.get_file_info([self.full(path) for path in paths])
        return [_stored(path, info) if info.is_file else None for path, info in zip(paths, infos, strict=True)]


def read_all(stream: Any, most: int | None = None) -> bytes:
    """All bytes of a stream; a ValueError once there are more than `most`, whatever its length was said to be."""
    if most is None:
        return bytes(stream.read())
    content = bytes(stream.read(min(_PART_BYTES, most + 1)))
    if len(content) == _PART_BYTES:
        parts, held = [content], len(content)
        while held <= most and (part := bytes(stream.read(_PART_BYTES))):
            parts.append(part)
            held += len(part)
        content = b"".join(parts)
    if len(content) > most:
        raise ValueError(f"it has more than {most:,} bytes")
    return content


def open_filesystem(uri: str, retry_seconds: int = 120) -> tuple[Any, str]:
    """The file system of a URI or absolute path, and the path inside it; other schemes go through fsspec.

    Google's client would try again for many minutes where it has no credentials or no network; `retry_seconds` ends
    that.
    """
    if "://" not in uri:
        return pafs.LocalFileSystem(), uri
    scheme = uri.partition("://")[0]
    if scheme in ("gs", "gcs") and "retry_limit_seconds" not in uri:
        uri += f"{'&' if '?' in uri else '?'}retry_limit_seconds={retry_seconds}"
    try:
        return pafs.FileSystem.from_uri(uri)  # type: ignore[no-any-return]
    except pa.ArrowInvalid:
        from fsspec.core import url_to_fs

        inner, path = url_to_fs(uri, **_web_options(scheme))
        return pafs.PyFileSystem(pafs.FSSpecHandler(inner)), path


@contextmanager
def outside(describe: Callable[[Exception], DataError]) -> Iterator[None]:
    """Whatever a library raises on what comes from outside, as a DataError.

    File systems, decoders and parsers have no common error: botocore's are no OSError, zipfile raises RuntimeError,
    struct and ast have their own. What is ours already passes.
    """
    try:
        yield
    except AsvpError:
        raise
    except Exception as error:
        raise describe(error) from None


def reach(call: Callable[[], Any], key: str, value: str) -> Any:
    """Call, with failures of the file system as DataErrors."""

    def describe(error: Exception) -> DataError:
        if isinstance(error, ImportError):
            mend = "Install the package that serves this kind of URI"
            return DataError(f"needs a package that is missing: {first_line(error)}", key=key, value=value, mend=mend)
        mend = "Check the path, the credentials and the network"
        return DataError(f"cannot be reached: {first_line(error)}", key=key, value=value, mend=mend)

    with outside(describe):
        return call()


def builtin_sets() -> list[str]:
    """Names of the data sets that come with the package."""
    folder = files("asvp.data") / "builtin"
    return sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and (entry / "pool.parquet").is_file())


def nearest(name: str, known: Iterable[str]) -> str:
    """A question after the most similar name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""


def _web_options(scheme: str) -> dict[str, Any]:
    """Options of fsspec's HTTP client, which by itself gives up on any file after five minutes, and never before."""
    if scheme not in ("http", "https"):
        return {}
    from aiohttp import ClientTimeout

    return {
        "client_kwargs": {
            "timeout": ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        }
    }


def _builtin_folder(name: str) -> Path:
    return Path(str(files("asvp.data"))) / "builtin" / name


def _stored(path: str, info: Any) -> StoredFile:
    return StoredFile(path, int(info.size or 0), info.mtime_ns)
