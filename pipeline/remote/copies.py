"""Working copies: a directory at a URI as a folder of this machine, in which work goes on as in any other.

What a holder writes there, file by file, is put at the URI as it is written and in that order, so that the objects go
through the states that the files of a local directory go through, and whoever reads or goes on finds one of those. What
is left of a process that was killed goes when the next one of its machine makes a temporary folder (`asvp.scratch`).

A process knows its working copies by their folders: whoever works on files there need not know of the URI.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from asvp.errors import AsvpError, StorageError
from asvp.files import TEMPORARY
from asvp.folders import MARKER, settle
from asvp.holds import Hold, held
from asvp.remote.lease import HELD, Lease, leased
from asvp.remote.objects import ANYTHING, PATIENCE, ChangedError, Objects, Stored, is_uri, refused, settled_uri
from asvp.scratch import scratch_folder

_OURS = {MARKER, "environment.json", "config.yaml", "arm.json", "failure.json", "stopped.json", "trials.json"}
_OURS |= {"rounds.jsonl", "results.parquet", HELD}
"""Names that a folder has of which something is fetched; of another's folder only what it is called is asked."""
_FOLDERS = ("checkpoint", "model", "runs", "tensorboard")
_GROWING = ("tensorboard", "wandb")
"""Folders whose files others than a holder write, as they grow."""
_OF_RAY = (
    "experiment_state-*",
    "searcher-state-*",
    "search_gen_state-*",
    "basic-variant-state-*",
    "*.pkl",
    ".validate_storage_marker",
)
"""State that Ray Tune keeps for itself."""
_AT_A_TIME = 8
_MOST_NAME = 100

Place = TypeVar("Place")

_copies: dict[Path, WorkingCopy] = {}


class WorkingCopy:
    """A directory at a URI, and the folder that stands for it here.

    Parameters
    ----------
    objects : Objects
    folder : Path
        Empty.
    reading : bool
        Whether it is only looked at: then checkpoints are left where they are, and leases are fetched.
    """

    def __init__(self, objects: Objects, folder: Path, *, reading: bool = False) -> None:
        self.objects = objects
        self.folder = folder
        self._reading = reading
        self._leases: dict[str, Lease] = {}
        self._superseded = False
        self._tags: dict[str, str] = {}
        self._states: dict[str, tuple[int, int]] = {}
        self._lock = threading.RLock()

    def fetch(self) -> None:
        """Have the files here be those at the URI; of models only the names, since nobody reads them."""
        with self._lock:
            files, folders = self.objects.listing()
            ours = bool(_OURS & files.keys()) or bool(folders & {"checkpoint", "runs"})
            for name in folders:
                (self.folder / name).mkdir(exist_ok=True)
            for folder in folders & set(_FOLDERS) if ours else ():
                files |= self.objects.below(folder)
            self._take(files, ours=ours)

    def fetch_folder(self, folder: Path) -> None:
        """As `fetch`, of a folder below alone, where it is one."""
        if folder == self.folder:
            self.fetch()
            return
        name = self._name(folder)
        with self._lock:
            self._take(self.objects.below(name), below=f"{name}/")

    def fetch_file(self, path: Path) -> None:
        """Have one file be as it is at the URI."""
        name = self._name(path)
        with self._lock:
            found = self.objects.look(name)
            self._take({} if found is None else {name: found}, below=name)

    def put(self, path: Path) -> None:
        """Put a file at the URI; a folder with all that lies in it, and what there is beside that goes.

        Raises
        ------
        SupersededError
            If it is held by this process, and somebody else has taken it over; nothing is written.
        StorageError
            If the store fails.
        """
        if not path.is_dir():
            self._put(path)
            return
        here = {self._name(one): one for one in path.rglob("*") if one.is_file()}
        for name in sorted(self.objects.below(self._name(path)).keys() - here.keys()):
            self._drop(name)
        # The marker goes first: whatever is there when the process dies, it is known to be ours.
        for _, one in sorted(here.items(), key=lambda item: (item[1].name != MARKER, item[0])):
            self._put(one)

    def drop(self, path: Path) -> None:
        """Remove at the URI what was removed here, a file or a folder; errors as of `put`."""
        name = self._name(path)
        gone = [one for one in self._tags if one == name or one.startswith(f"{name}/")]
        for one in sorted(gone, key=lambda one: Path(one).name == MARKER):
            self._drop(one)

    def put_rest(self, *, growing: bool = True) -> None:
        """Put what has changed here since without having been put: figures, reports, logs; not if another took over.

        Parameters
        ----------
        growing : bool
            Whether a database may be sent, too, which is whole when nobody writes into it.
        """
        for path in () if self._superseded else self._rest():
            # What others write may be gone again, such as a database's journal.
            with suppress(FileNotFoundError):
                if growing or ".db" not in path.name:
                    self._put(path)

    @contextmanager
    def held(self, at: Path, place: Path, hold: Hold, mandate: str | None) -> Iterator[Hold]:
        """Hold a place at the URI, too, and have the files here be those that the holder before has left."""
        name = self._name(place)
        with leased(self.objects, self._name(at / HELD), hold, mandate, lambda: self._put_rest_of(place)) as lease:
            self._leases[name] = lease
            try:
                self.fetch_folder(place)
                yield _SharedHold(hold, lease, self)
            finally:
                del self._leases[name]
                self._superseded |= lease.lost

    def named(self, path: Path) -> str:
        """What a path here is called at the URI."""
        return self.objects.uri if path == self.folder else f"{self.objects.uri}/{self._name(path)}"

    def tell(self, error: AsvpError) -> None:
        """Have an error name the URI where it names the folder here."""

        def told(text: Any) -> Any:
            return text.replace(str(self.folder), self.objects.uri) if isinstance(text, str) else text

        error.message, error.key, error.mend = told(error.message), told(error.key), told(error.mend)
        error.value = told(error.value)
        error.args = (error.message,)

    def require_writable(self) -> None:
        """Raise a StorageError unless an object can be written here; it is removed again."""
        name = f".tried.{uuid.uuid4().hex}.tmp"
        self.objects.put(name, b"")
        self.objects.remove(name)

    def _put(self, path: Path) -> None:
        name = self._name(path)
        with self._lock:
            state, lease = _state(path), self._lease_of(name)
            if self._states.get(name) == state:
                return
            if lease is not None:
                lease.check()
            try:
                tag = self.objects.put(name, path, ANYTHING if lease is None else self._tags.get(name))
            except ChangedError:
                # By a holder that was fenced out while this was on its way, or by ourselves, and we have not heard.
                if lease is not None:
                    lease.check()
                tag = self.objects.put(name, path)
            self._tags[name], self._states[name] = tag, state

    def _put_rest_of(self, place: Path) -> None:
        if place == self.folder:
            self.put_rest(growing=False)

    def _lease_of(self, name: str) -> Lease | None:
        """Of the place that an object is of, or lies below."""
        over = [place for place in self._leases if not place or name.startswith(f"{place}/")]
        return self._leases[max(over, key=len)] if over else None

    def _drop(self, name: str) -> None:
        with self._lock:
            lease = self._lease_of(name)
            if lease is not None:
                lease.check()
            self.objects.remove(name)
            self._tags.pop(name, None)
            self._states.pop(name, None)

    def _take(self, found: dict[str, Stored], *, ours: bool = True, below: str = "") -> None:
        """Fetch what is new of the objects that were found, and remove what is not there any more."""
        wanted = {name: one for name, one in found.items() if self._wanted(name)}
        new = [
            (name, one)
            for name, one in wanted.items()
            if self._tags.get(name) != one.tag or not (self.folder / name).exists()
        ]
        with ThreadPoolExecutor(_AT_A_TIME) as pool:
            list(pool.map(lambda item: self._fetch(item[0], item[1], ours and _is_read(item[0])), new))
        for name in [one for one in self._tags if one.startswith(below) and one not in wanted]:
            (self.folder / name).unlink(missing_ok=True)
            del self._tags[name]
            self._states.pop(name, None)

    def _fetch(self, name: str, stored: Stored, whole: bool) -> None:
        path = self.folder / name
        if not whole:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        elif not self.objects.fetch(name, path, stored):
            return
        self._tags[name], self._states[name] = stored.tag, _state(path)

    def _wanted(self, name: str) -> bool:
        parts = name.split("/")
        if parts[-1] == HELD:
            return self._reading
        if TEMPORARY.fullmatch(parts[-1]) or (parts[0] == "tensorboard" and self._reading):
            return False
        # Of the trials of a sweep each fetches its own.
        return not ("checkpoint" in parts[:-1] and (self._reading or parts[0] == "runs"))

    def _rest(self) -> Iterable[Path]:
        for path in sorted(self.folder.iterdir()):
            if path.is_file() and not TEMPORARY.fullmatch(path.name) and not any(map(path.match, _OF_RAY)):
                yield path
        for name in _GROWING:
            yield from (path for path in sorted((self.folder / name).rglob("*")) if path.is_file())

    def _name(self, path: Path) -> str:
        return "" if path == self.folder else path.relative_to(self.folder).as_posix()


class _SharedHold(Hold):
    """A working copy that is held together with its URI."""

    def __init__(self, hold: Hold, lease: Lease, copy: WorkingCopy) -> None:
        super().__init__(hold.folder, hold.place)
        self._lease = lease
        self._copy = copy

    @property
    def mandate(self) -> str:
        return self._lease.mandate

    def require(self) -> None:
        super().require()
        self._lease.require()

    def write(self, path: Path, write: Callable[[Path], Any]) -> None:
        super().write(path, write)
        self._copy.put(path)

    def remove(self, path: Path) -> None:
        super().remove(path)
        self._copy.drop(path)


@contextmanager
def at_hand(
    place: Place,
    *,
    key: str = "--out",
    reading: bool = False,
    begun: bool = False,
    say: Callable[[str], None] | None = None,
) -> Iterator[Place | Path]:
    """A directory's folder here: of a URI a working copy, of anything else what was given.

    Parameters
    ----------
    place : object
        As the user names it.
    key : str
        The option that names it, for messages.
    reading : bool
        Whether it is only looked at; else what has changed there is put at the URI when the block ends well.
    begun : bool
        Whether work is under way, so that a store that fails is no wrong input.
    say : callable, optional
        Told of a store that is waited for.

    Raises
    ------
    RunDirectoryError
        If the URI cannot be one of a directory, or the store cannot be used.
    StorageError
        If the store fails in the middle of work.
    """
    if not is_uri(place):
        yield place
        return
    uri = settled_uri(str(place), key=key)
    with scratch_folder() as above:
        folder = above.resolve() / uri.rpartition("/")[2][-_MOST_NAME:]
        folder.mkdir()
        try:
            objects = Objects(uri, key=key, say=say)
            objects.patience = PATIENCE if begun else 0.0
            copy = WorkingCopy(objects, folder, reading=reading)
            copy.fetch()
            if not (reading or begun):
                copy.require_writable()
        except StorageError as error:
            if begun:
                raise
            raise refused(error, key) from None
        objects.patience = PATIENCE
        _copies[folder] = copy
        try:
            yield folder
            if not reading:
                copy.put_rest()
        except AsvpError as error:
            copy.tell(error)
            raise
        finally:
            del _copies[folder]


@contextmanager
def held_here(at: Path, place: Path, *, mandate: str | None = None, key: str = "--out") -> Iterator[Hold]:
    """As `asvp.holds.held`; a place in a working copy is held at its URI as well, as far as others are concerned.

    Parameters
    ----------
    at, place, key
        As of `held`.
    mandate : str, optional
        That of a hold above this one (`Hold.mandate`).
    """
    copy = copy_of(at)
    own = None if mandate is None or copy is not None else Path(mandate)
    with held(at, place, mandate=own, key=key) as hold:
        if copy is None:
            yield hold
        else:
            with copy.held(at, place, hold, mandate) as shared:
                yield shared


def copy_of(path: Path) -> WorkingCopy | None:
    """The working copy of this process that a path lies in."""
    return next((copy for folder, copy in _copies.items() if path == folder or folder in path.parents), None)


def named(path: Path | str) -> str:
    """What a person calls a path: that in a working copy by its URI."""
    copy = copy_of(Path(path)) if _copies else None
    return str(path) if copy is None else copy.named(Path(path))


def called(place: str, *, key: str = "--out") -> str:
    """What a user's name for a directory stands for: a URI, or an absolute path; errors as of `at_hand`."""
    return settled_uri(place, key=key) if is_uri(place) else str(settle(place, key=key))


def place_of(folder: Path) -> Path | str:
    """A folder, or the URI that it is the working copy of."""
    return folder if copy_of(folder) is None else named(folder)


def put_there(path: Path) -> None:
    """Put a file or folder that was written in a working copy at its URI; elsewhere there is nothing to do."""
    copy = copy_of(path)
    if copy is not None:
        copy.put(path)


def put_rest(folder: Path) -> None:
    """Put what others than a holder have written in a working copy at its URI."""
    copy = copy_of(folder)
    if copy is not None:
        copy.put_rest()


def drop_there(path: Path) -> None:
    """Remove at its URI what was removed in a working copy."""
    copy = copy_of(path)
    if copy is not None:
        copy.drop(path)


def fetch_folder(folder: Path) -> None:
    """Have a folder in a working copy be as it is at its URI, where another process works on it."""
    copy = copy_of(folder)
    if copy is not None:
        copy.fetch_folder(folder)


def fetch_file(path: Path) -> None:
    """As `fetch_folder`, of one file."""
    copy = copy_of(path)
    if copy is not None:
        copy.fetch_file(path)


def _is_read(name: str) -> bool:
    parts = name.split("/")
    return "model" not in parts[:-1] or parts[-1] == MARKER


def _state(path: Path) -> tuple[int, int]:
    with suppress(OSError):
        told = path.stat()
        return told.st_mtime_ns, told.st_size
    return (0, 0)
