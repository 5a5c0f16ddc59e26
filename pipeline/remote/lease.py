"""Whose a directory at a URI is: an object with an incarnation number, which each holder writes over that of the last.

A holder gives signs of life by writing it again and again. Whoever takes the directory over writes it with another
number, on condition that it is still the one that was looked at, so that of two who come together one is refused; and
the holder before finds another's number there, when it gives a sign or before it writes a file, and writes nothing any
more.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asvp import holds
from asvp.errors import AsvpError, RunDirectoryError, StorageError
from asvp.files import parse_json
from asvp.remote.objects import ChangedError, Objects, refused

HELD = ".held.json"
"""The object, in the folder that is held."""
BEAT = 10.0
"""Seconds between two signs of life."""
SILENCE = 45.0
"""Seconds without one after which a holder that cannot be looked at is taken for dead."""
_LOOK = 1.0
_TRIES = 8


class Lease:
    """A directory at a URI that is held.

    Parameters
    ----------
    objects : Objects
    name : str
        Of the lease's object.
    told : mapping
        Its content.
    tag : str
        Of the object as this holder has written it.

    Attributes
    ----------
    lost : bool
        Whether it is known that somebody else has taken the directory over.
    """

    def __init__(self, objects: Objects, name: str, told: Mapping[str, Any], tag: str) -> None:
        self._objects = objects
        self._name = name
        self._told = dict(told)
        self._tag = tag
        self.lost = False
        self._ended = False
        self._lock = threading.Lock()

    @property
    def mandate(self) -> str:
        """What gives others the right to take over what lies below, for as long as this is held."""
        return f"{self._objects.uri}/{self._name}#{self._told['holder']}"

    def require(self) -> None:
        """Raise a SupersededError if it is known that somebody else has taken the directory over."""
        if self.lost:
            raise holds.superseded(self._objects.uri)

    def check(self) -> None:
        """Ask the store, and raise a SupersededError if somebody else has taken the directory over."""
        with self._lock:
            found = self._objects.look(self._name)
            if found is None or found.tag != self._tag:
                self._look_again()
        self.require()

    def beat(self) -> None:
        """Give a sign of life; a store that does not answer is let be, perhaps it is not for long."""
        self._write({**self._told, "beat": self._told["beat"] + 1})

    def release(self) -> None:
        """Hold it no more."""
        self._write({"incarnation": self._told["incarnation"], "holder": None})
        self._ended = True

    def _write(self, told: Mapping[str, Any]) -> None:
        with self._lock, suppress(StorageError):
            if self.lost or self._ended:
                return
            try:
                self._tag = self._objects.put(self._name, _content(told), self._tag)
            except ChangedError:
                self._look_again()
            else:
                self._told = dict(told)

    def _look_again(self) -> None:
        """Find out whether what is there is somebody else's, or our own, of which we have not heard that it came."""
        found = self._objects.look(self._name)
        self.lost = self.lost or _read(self._objects, self._name).get("holder") != self._told["holder"]
        self._tag = "" if found is None else found.tag


@contextmanager
def leased(
    objects: Objects, name: str, hold: holds.Hold, mandate: str | None, on_beat: Callable[[], None]
) -> Iterator[Lease]:
    """Hold a directory at a URI for as long as the block lasts, or the process lives.

    Parameters
    ----------
    objects : Objects
    name : str
        Of the lease's object.
    hold : Hold
        Of the working copy; by it other processes of this machine see at once whether the holder lives.
    mandate : str, optional
        Of a lease above this one, which gives the right to take over at once.
    on_beat : callable
        Called at every sign of life, and when the block ends, as long as the directory is held.

    Raises
    ------
    RunDirectoryError
        If another process is at work there, or it cannot be written.
    SupersededError
        If the mandate has ended.
    StorageError
        With a mandate: the work is under way.
    """
    try:
        lease = _take(objects, name, hold, mandate)
    except StorageError as error:
        if mandate is not None:
            raise
        raise refused(error, "--out") from None
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(BEAT):
            lease.beat()
            with suppress(AsvpError, OSError):
                lease.require()
                on_beat()

    thread = threading.Thread(target=beat, name="asvp sign of life", daemon=True)
    thread.start()
    try:
        yield lease
    finally:
        stopped.set()
        with suppress(AsvpError, OSError):
            lease.check()
            on_beat()
            lease.release()


def _take(objects: Objects, name: str, hold: holds.Hold, mandate: str | None) -> Lease:
    for _ in range(_TRIES):
        before = objects.look(name)
        other = {} if before is None else _read(objects, name)
        if mandate is None and other.get("holder") is not None and _is_at_work(objects, name, other):
            raise _at_work(objects)
        if mandate is not None and not _is_current(mandate, objects.patience):
            raise holds.superseded(objects.uri)
        told = {
            "incarnation": _number(other.get("incarnation")) + 1,
            "holder": uuid.uuid4().hex,
            "machine": _machine(),
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "folder": str(hold.folder),
            "beat": 0,
        }
        with suppress(ChangedError):
            tag = objects.put(name, _content(told), None if before is None else before.tag)
            # A store that decides nothing itself has the last of two who came together.
            if objects.conditional or _read(objects, name).get("holder") == told["holder"]:
                return Lease(objects, name, told, tag)
    raise _at_work(objects)


def _is_at_work(objects: Objects, name: str, other: Mapping[str, Any]) -> bool:
    """Whether a holder lives: by its lock on this machine, and else by its signs of life."""
    folder = other.get("folder")
    if other.get("machine") == _machine() and isinstance(folder, str):
        return holds.is_at_work(Path(folder))
    objects.say(
        f"{objects.uri} was held by a process on {other.get('host', 'another machine')}; "
        f"whether it lives is known in {SILENCE:.0f} seconds"
    )
    deadline = time.monotonic() + SILENCE
    while time.monotonic() < deadline:
        now = _read(objects, name)
        if now != other:
            return now.get("holder") is not None
        time.sleep(_LOOK)
    return False


def _machine() -> str:
    """What this machine is known by, and which of its file systems this process sees: a container has its own."""
    try:
        return f"{holds.machine()} {os.readlink('/proc/self/ns/mnt')}"
    except OSError:
        return f"{holds.machine()} {uuid.uuid4().hex}"


def _is_current(mandate: str, patience: float) -> bool:
    uri, _, holder = mandate.rpartition("#")
    folder, _, name = uri.rpartition("/")
    objects = Objects(folder)
    objects.patience = patience
    return _read(objects, name).get("holder") == holder


def is_leased(told: Any, written: float) -> bool:
    """Whether an object of a lease, last written then (seconds since the epoch), is that of a holder at work.

    By this machine's clock: for a person who asks, and for nothing that is decided.
    """
    return isinstance(told, Mapping) and told.get("holder") is not None and abs(time.time() - written) < SILENCE


def _at_work(objects: Objects) -> RunDirectoryError:
    return RunDirectoryError(
        "another process is at work here", key="--out", value=objects.uri, mend="Wait for it, or stop it"
    )


def _read(objects: Objects, name: str) -> dict[str, Any]:
    try:
        found = parse_json(objects.read(name) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _number(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _content(told: Mapping[str, Any]) -> bytes:
    return json.dumps(told).encode()
