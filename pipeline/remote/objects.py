"""Objects below a URI, read and written whole: the one place that knows the file systems behind fsspec.

A write may be conditional: it happens only if the object is still the one that the writer knows. Stores of the S3 kind
decide that themselves (If-Match, If-None-Match); of others the object is looked at just before.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from asvp.errors import AsvpError, RunDirectoryError, StorageError
from asvp.files import is_full, temporary_beside
from asvp.progress import SAY_AFTER_SECONDS
from asvp.redaction import holds_credentials

PATIENCE = 30.0
"""Seconds for which a store that answers no more is asked again before the work that needs it ends."""
_PAUSE = 1.0
_AWAY, _KEPT = "the storage has gone away, ", "; what was finished before is kept"
_CONDITIONAL = ("s3", "s3a")
_WHOLE_BYTES = 48 << 20
"""What is larger is sent in parts, and without a condition: such files are named by their content, or made once."""
_NO_CONDITIONS = ("NotImplemented", "NotImplementedError", "ParamValidationError")
_FAILED_CONDITIONS = ("PreconditionFailed", "ConditionalRequestConflict", "FileExistsError")

Answer = TypeVar("Answer")


class ChangedError(Exception):
    """A conditional write that did not happen, since the object is another by now."""


@dataclass(frozen=True)
class Stored:
    """An object: its size in bytes, what tells it from others by its name, and when it was written (s, if told)."""

    nbytes: int
    tag: str
    written: float | None


class Anything:
    """What an unconditional write expects."""


ANYTHING = Anything()


class Objects:
    """Objects below a URI; names are relative, with slashes.

    Parameters
    ----------
    uri : str
        As `settled_uri` gives it.
    key : str
        The option that names it, for messages.
    say : callable, optional
        Told of a store that is waited for.

    Attributes
    ----------
    conditional : bool
        Whether the store itself decides about conditional writes.
    patience : float
        Seconds for which a store that answers no more is asked again.

    Raises
    ------
    StorageError
        From every method, if the store fails.
    """

    def __init__(self, uri: str, *, key: str = "--out", say: Callable[[str], None] | None = None) -> None:
        self.uri = uri
        self.say = say or (lambda text: None)
        self.patience = 0.0
        self._key = key
        self._failing = False
        # Not before a URI is given: clients, and what they need, take a while to import.
        from asvp.features.store import BUCKETS, open_filesystem

        scheme = uri.partition("://")[0]
        self.conditional = scheme in _CONDITIONAL
        # A listing has to be the present one.
        self._filesystem, base = self._ask("cannot be opened", lambda: open_filesystem(uri, use_listings_cache=False))
        self._base = base.rstrip("/")
        self._bucket = self._base.partition("/")[0] if scheme in BUCKETS else None

    def listing(self) -> tuple[dict[str, Stored], set[str]]:
        """Objects that lie directly below the URI, and names of folders there."""

        def ask() -> Any:
            try:
                return self._filesystem.ls(self._base or "/", detail=True)
            except (FileNotFoundError, NotADirectoryError):
                self._require_bucket()
                return []

        infos = self._ask("cannot be listed", ask)
        files = {self._relative(one): _stored(one) for one in infos if one["type"] == "file"}
        folders = {self._relative(one) for one in infos if one["type"] == "directory"}
        return {name: one for name, one in files.items() if name}, folders - {""}

    def below(self, folder: str) -> dict[str, Stored]:
        """All objects below a folder, by name."""

        def ask() -> Any:
            try:
                return self._filesystem.find(self._full(folder), detail=True)
            except FileNotFoundError:
                return {}

        found = self._ask("cannot be listed", ask)
        named = {self._relative(one): _stored(one) for one in found.values() if one["type"] == "file"}
        return {name: one for name, one in named.items() if name.startswith(f"{folder}/") and _is_plain(name)}

    def look(self, name: str) -> Stored | None:
        """An object as it is now, without its content; None where there is none."""

        def ask() -> Any:
            try:
                return self._filesystem.info(self._full(name), refresh=True)
            except FileNotFoundError:
                return None

        info = self._ask(f"{name} cannot be read", ask)
        return None if info is None or info["type"] != "file" else _stored(info)

    def read(self, name: str) -> bytes | None:
        """The content of an object; None where there is none."""

        def ask() -> bytes | None:
            try:
                return bytes(self._filesystem.cat_file(self._full(name)))
            except FileNotFoundError:
                return None

        return self._ask(f"{name} cannot be read", ask)

    def fetch(self, name: str, path: Path, stored: Stored) -> bool:
        """Make a file of an object, as old as that, whole or not at all; False where there is none any more."""
        other = temporary_beside(path)

        def ask() -> bool:
            try:
                self._filesystem.get_file(self._full(name), str(other))
            except FileNotFoundError:
                return False
            return True

        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self._ask(f"{name} cannot be read", ask):
                return False
            if stored.written is not None:
                os.utime(other, (stored.written, stored.written))
            other.replace(path)
            return True
        finally:
            with suppress(OSError):
                other.unlink(missing_ok=True)

    def put(self, name: str, content: bytes | Path, expected: str | Anything | None = ANYTHING) -> str:
        """Write an object whole; its tag.

        Parameters
        ----------
        name : str
        content : bytes or Path
            Bytes, or a file that holds them.
        expected : str, None or ANYTHING
            The tag that the object has to have, None if there has to be none, for it to be written.

        Raises
        ------
        ChangedError
            If it is another; nothing is written.
        """
        whole = not isinstance(content, Path) or content.stat().st_size <= _WHOLE_BYTES
        if self.conditional and whole and not isinstance(expected, Anything):
            condition = {"IfNoneMatch": "*"} if expected is None else {"IfMatch": f'"{expected}"'}
            try:
                return self._put(name, content, whole, condition)
            except _UnknownCondition:
                self.conditional = False
        if not isinstance(expected, Anything):
            found = self.look(name)
            if (None if found is None else found.tag) != expected:
                raise ChangedError(name)
        return self._put(name, content, whole, {})

    def remove(self, name: str) -> None:
        """Remove an object, if it is there."""

        def ask() -> None:
            with suppress(FileNotFoundError):
                self._filesystem.rm_file(self._full(name))

        self._ask(f"{name} cannot be removed", ask)

    def _put(self, name: str, content: bytes | Path, whole: bool, condition: Mapping[str, str]) -> str:
        def ask() -> Any:
            try:
                if not whole:
                    return self._filesystem.put_file(str(content), self._full(name))
                data = content if isinstance(content, bytes) else content.read_bytes()
                return self._filesystem.pipe_file(self._full(name), data, **condition)
            except Exception as error:
                if condition and _says(error, _NO_CONDITIONS):
                    raise _UnknownCondition from error
                if condition and (_says(error, _FAILED_CONDITIONS) or isinstance(error, FileNotFoundError)):
                    raise ChangedError(name) from error
                raise

        answer = self._ask(f"{name} cannot be written", ask)
        if isinstance(answer, Mapping) and "ETag" in answer:
            return _tag(answer)
        found = self.look(name)
        return "" if found is None else found.tag

    def _require_bucket(self) -> None:
        if self._bucket is not None and not self._filesystem.exists(self._bucket):
            raise RunDirectoryError(
                f"there is no bucket {self._bucket!r}", key=self._key, value=self.uri, mend="Make it, or name another"
            )

    def _full(self, name: str) -> str:
        return f"{self._base}/{name}"

    def _relative(self, info: Mapping[str, Any]) -> str:
        path = str(info["name"]).rstrip("/")
        return path.removeprefix(f"{self._base}/") if path != self._base else ""

    def _ask(self, what: str, ask: Callable[[], Answer]) -> Answer:
        """What the store answers; one that does not is asked again for a while, unless it failed just before."""
        deadline = time.monotonic() + (0.0 if self._failing else self.patience)
        with self._waits_told():
            while True:
                try:
                    answer = ask()
                    self._failing = False
                    return answer
                except (AsvpError, ChangedError, _UnknownCondition):
                    raise
                except Exception as error:
                    if isinstance(error, (PermissionError, FileNotFoundError, ValueError, ImportError)):
                        raise self._error(error, what) from None
                    if time.monotonic() >= deadline:
                        self._failing = True
                        raise self._error(error, what) from None
                time.sleep(_PAUSE)

    @contextmanager
    def _waits_told(self) -> Iterator[None]:
        told = f"{self.uri} has not answered for {SAY_AFTER_SECONDS:.0f} seconds; it is waited for"
        timer = threading.Timer(SAY_AFTER_SECONDS, lambda: self.say(told))
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _error(self, error: Exception, what: str) -> StorageError:
        from asvp.features.store import told_by

        if is_full(error):
            return StorageError(
                f"the storage is full{_KEPT}",
                key=self._key,
                value=self.uri,
                mend="Free space and go on with --resume",
            )
        return StorageError(
            f"{_AWAY}{what}: {told_by(error)}{_KEPT}",
            key=self._key,
            value=self.uri,
            mend="Bring it back and go on with --resume",
        )


class _UnknownCondition(Exception):  # noqa: N818
    """The store, or its client, knows no conditional writes."""


def is_uri(place: object) -> bool:
    """Whether a user's name for a folder is a URI of a store; file:// names a folder of this machine."""
    return isinstance(place, str) and "://" in place and not place.startswith("file://")


def settled_uri(uri: str, *, key: str = "--out") -> str:
    """A URI that can be a directory's, without a slash at its end.

    Raises
    ------
    RunDirectoryError
        If it holds a secret, or characters that no name should have.
    """
    if holds_credentials(uri):
        raise RunDirectoryError(
            "holds a password, a token or a signature, and would be written down with the run",
            key=key,
            value=uri,
            mend="Set it in the environment, or in the store's own configuration",
        )
    scheme, _, path = uri.strip().partition("://")
    parts = path.rstrip("/").split("/")
    if not uri.isprintable() or not parts[0] or any(part in ("", ".", "..") for part in parts[1:]):
        raise RunDirectoryError(
            "is no URI of a folder", key=key, value=uri, mend="Write for example s3://bucket/runs/first"
        )
    return f"{scheme}://{'/'.join(parts)}"


def refused(error: StorageError, key: str) -> RunDirectoryError:
    """The same for a store that fails before any work: then it is the input that is wrong."""
    return RunDirectoryError(
        error.message.removeprefix(_AWAY).removesuffix(_KEPT),
        key=key,
        value=error.value,
        mend="Check the URI, the credentials and the network, or name a folder",
    )


def _is_plain(name: str) -> bool:
    """Whether a name leads to no other place: object stores know names such as a/../../b."""
    return "\0" not in name and not any(part in ("", ".", "..") for part in name.split("/"))


def _says(error: BaseException, codes: tuple[str, ...]) -> bool:
    """Whether an error, or what it was made of, has one of these names, or codes of a server's answer."""
    while error is not None:
        response = getattr(error, "response", None)
        code = response.get("Error", {}).get("Code") if isinstance(response, Mapping) else None
        if code in codes or type(error).__name__ in codes:
            return True
        if error.__cause__ is None:
            return False
        error = error.__cause__
    return False


def _stored(info: Mapping[str, Any]) -> Stored:
    from asvp.features.store import written_at

    written = written_at(info)
    return Stored(int(info.get("size") or 0), _tag(info) or f"{info.get('size')}-{written}", written)


def _tag(info: Mapping[str, Any]) -> str:
    """What changes with an object's content, by whichever name its file system tells it."""
    told = (info.get(name) for name in ("ETag", "etag", "generation", "md5Hash"))
    return str(next(filter(None, told), "")).strip('"')
