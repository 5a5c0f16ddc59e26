"""The on-disk cache: entries of checksummed parts under content keys, on a local disk or any fsspec URI.

Layout: `ROOT/format.json`, `ROOT/KIND/KEY/entry.json`, `ROOT/KIND/KEY/PART-CHECKSUM.SUFFIX`. A part's name carries the
checksum of its bytes, so a truncated or altered file betrays itself, and two writers of one part never harm each
other: each writes under a name of its own and renames it to the final one.

`format.json` marks a folder as a cache: nothing is written into a folder that holds other things, nothing is read or
removed where the mark is missing, and inside a cache only files whose names have the form above are ever removed.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from asvp.errors import CacheError, ConfigError
from asvp.features.store import Listing, Store, StoredFile, local_root, open_store
from asvp.files import parse_json
from asvp.spent import Spent

FORMAT = 1
_MARK = "format.json"
_DESCRIPTION = "entry.json"
_KINDS = ("features", "models", "packings", "teams")
_HARMLESS = frozenset({_MARK, "digests", "lost+found"})
"""What may be in a folder without the mark: what is written before the first entry, and what a new disk holds."""
_PART = re.compile(r"^(?P<part>[\w.]+)-(?P<checksum>[0-9a-f]{32})\.(?P<suffix>\w+)$")
_UNFINISHED = re.compile(r"^\..+\.[0-9a-f]{32}\.tmp$")
_UNITS = {"": 1, "B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_IN_USE_SECONDS = 600.0
"""An entry used (or written to) so recently may be in the hands of a run: a slow shard takes minutes."""
_CLOCKS_APART_SECONDS = 900.0
"""So much the clock that told when that was may differ from this machine's, either way."""
KEPT_MINUTES = round((_IN_USE_SECONDS + _CLOCKS_APART_SECONDS) / 60)
"""For which an entry that was used is not evicted."""
_ABANDONED_SECONDS = 3600.0
"""A file still under its temporary name after so long has no writer any more."""


class DamagedPartError(CacheError):
    """A part that cannot be used: its bytes are not those that were written, or not what they should be."""

    exit_code = 1


class MissingPartError(DamagedPartError):
    """A part that is not there, or was evicted meanwhile."""


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
        "features", "models", "packings" or "teams".
    key : str
    """

    root: str
    kind: str
    key: str

    def parts(self) -> dict[str, str]:
        """Names of the parts that are stored, each with its file name.

        Raises
        ------
        CacheError
            If the cache cannot be reached.
        """
        found: dict[str, str] = {}
        for file in self._store.listing(self._folder).files:
            match = _PART.match(file.name)
            if match:
                found.setdefault(match["part"], file.name)
        return found

    def read(self, part: str, file_name: str | None = None) -> pa.Buffer:
        """The bytes of a part, memory-mapped where the cache is local, after their checksum has been compared.

        Raises
        ------
        MissingPartError
            If the part is not there.
        DamagedPartError
            If it is truncated or altered. The file is removed, so that it is made anew.
        CacheError
            If the cache cannot be reached.
        """
        name = file_name or self.parts().get(part)
        match = _PART.match(name or "")
        data = None if name is None or match is None else self._store.read(f"{self._folder}/{name}")
        if name is None or match is None or data is None:
            raise MissingPartError("the part is not stored", key=f"{self.kind}/{self.key}/{part}")
        if _checksum(data) != match["checksum"]:
            raise self.damaged(name, "the file is truncated or altered: its checksum differs")
        return data

    def damaged(self, file_name: str, what: str) -> DamagedPartError:
        """The error that tells of a part that cannot be used, after its file was removed as far as that is possible."""
        try:
            self._store.remove(f"{self._folder}/{file_name}")
            mend = "It is removed and made anew"
        except CacheError as error:
            mend = f"It could not be removed ({error.message})"
        return DamagedPartError(what, key=f"{self.root}/{self._folder}/{file_name}", mend=mend)

    def write(self, part: str, data: pa.Buffer | bytes, suffix: str) -> str:
        """Store a part atomically; return its file name.

        Raises
        ------
        CacheError
            If the disk is full, the folder is not writable or holds something else than a cache, or the store fails.
        """
        name = f"{part}-{_checksum(data)}.{suffix}"
        _mark(self._store)
        self._store.write(f"{self._folder}/{name}", data)
        return name

    def describe(self, description: Mapping[str, Any]) -> None:
        """Write what the entry is; also marks it as used now.

        A cache that is full or may only be read serves all the same, so a description that cannot be written is let go.
        """
        with suppress(CacheError):
            _mark(self._store)
            stored = json.dumps({**description, "used": time.time()}).encode()
            self._store.write(f"{self._folder}/{_DESCRIPTION}", stored)

    def description(self) -> dict[str, Any]:
        """What was written by `describe`, or nothing, also where it cannot be read."""
        try:
            data = self._store.read(f"{self._folder}/{_DESCRIPTION}")
            stored = {} if data is None else parse_json(data.to_pybytes())
        except (CacheError, ValueError):
            return {}
        return stored if isinstance(stored, dict) else {}

    def spent(self) -> Spent | None:
        """What making the entry cost, as its description tells; None if it does not.

        Entries of earlier versions tell wall seconds alone, which count as those of one core.
        """
        description = self.description()
        seconds = _number(description.get("seconds"))
        known = Spent.from_json(description.get("spent"))
        return known if known is not None or seconds is None else Spent(seconds, seconds)

    def touch(self) -> None:
        """Mark the entry as used now; one without a description stays without."""
        description = self.description()
        if description:
            self.describe(description)

    def info(self) -> EntryInfo | None:
        """What the entry holds; None if there is no file of a cache in it."""
        files = self._own_files()
        if not files:
            return None
        description = self.description()
        told = _number(description.pop("used", None)) or 0.0
        return EntryInfo(
            kind=self.kind,
            key=self.key,
            parts=sum(1 for file in files if _PART.match(file.name)),
            nbytes=sum(file.nbytes for file in files),
            # A description comes last, so an entry that is being written has none, or an old one.
            used=max(told, *(file.written or 0.0 for file in files)),
            description=description,
        )

    def remove(self) -> None:
        """Remove the entry's own files, and its folder if nothing else is in it."""
        for file in self._own_files():
            unfinished = _UNFINISHED.match(file.name) is not None
            if not unfinished or time.time() - (file.written or 0.0) > _ABANDONED_SECONDS:
                self._store.remove(f"{self._folder}/{file.name}")
        self._store.remove_if_empty(self._folder)

    def _own_files(self) -> list[StoredFile]:
        """Those that have the name of a part, an unfinished part or a description."""
        files = self._store.listing(self._folder).files
        return [
            file
            for file in files
            if file.name == _DESCRIPTION or _PART.match(file.name) or _UNFINISHED.match(file.name)
        ]

    @property
    def _folder(self) -> str:
        return f"{self.kind}/{self.key}"

    @property
    def _store(self) -> Store:
        return open_store(self.root)


class Cache:
    """The cache as a whole.

    Parameters
    ----------
    root : str
        Local folder (~ is understood) or fsspec URI; one that does not exist is made when something is written.
    limit : str, int or None
        Size in bytes, or such as "200GB", kept by evicting what was used least recently.

    Raises
    ------
    CacheError
        If the root holds a cache of a newer format or something else than a cache, or cannot be used.
    ConfigError
        If the limit is not understood.
    """

    def __init__(self, root: str, limit: str | int | None = None) -> None:
        self.root = local_root(root)
        self.limit = parse_size(limit)
        store = open_store(self.root)
        if not _is_marked(store):
            _require_unused(store, store.listing())
            store.require_writable()

    def entry(self, kind: str, key: str) -> CacheEntry:
        """The entry of a key, stored or not."""
        return CacheEntry(self.root, kind, key)

    def require_present(self) -> None:
        """Raise a CacheError where there is no folder, as after a slip of the pen."""
        if not open_store(self.root).listing().exists:
            raise CacheError("there is no such folder", key="extraction.cache", value=self.root, mend="Name the cache")

    def entries(self) -> list[EntryInfo]:
        """All entries, the most recently used first."""
        store = open_store(self.root)
        if not _is_marked(store):
            return []
        every = [self.entry(kind, key) for kind in _KINDS for key in store.listing(kind).folders]
        found = [info for entry in every if (info := entry.info()) is not None]
        return sorted(found, key=lambda info: info.used, reverse=True)

    def verify(self) -> Iterator[tuple[str, DamagedPartError | None]]:
        """Compare every part with its checksum; yield its name and what is wrong with it, if anything.

        Parts that are evicted meanwhile are passed over.
        """
        for info in self.entries():
            entry = self.entry(info.kind, info.key)
            for part, file_name in entry.parts().items():
                try:
                    entry.read(part, file_name)
                except MissingPartError:
                    continue
                except DamagedPartError as error:
                    yield f"{info.kind}/{info.key}/{file_name}", error
                else:
                    yield f"{info.kind}/{info.key}/{file_name}", None

    def prune(self, limit: int | None = None, keep: frozenset[str] = frozenset()) -> list[EntryInfo]:
        """Evict least recently used entries until the size is within the limit; return what went.

        Entries whose key is in `keep`, and those used or written to within the last 25 minutes (another run may be at
        work on them, on a machine whose clock differs by some), stay. A time further in the future was told by a clock
        that has been set back since: such an entry is older than all others.

        Raises
        ------
        CacheError
            If the cache cannot be reached. What other processes evict or write meanwhile is no error.
        """
        bound = self.limit if limit is None else limit
        if bound is None:
            return []
        entries = self.entries()
        size = sum(info.nbytes for info in entries)
        evicted = []
        now = time.time()
        for info in sorted(entries, key=lambda info: info.used if info.used < now + _CLOCKS_APART_SECONDS else 0.0):
            if size <= bound:
                break
            entry = self.entry(info.kind, info.key)
            if info.key in keep or _in_use(entry):
                continue
            entry.remove()
            size -= info.nbytes
            evicted.append(info)
        return evicted

    def trim(self, keep: frozenset[str], say: Callable[[str], None]) -> None:
        """Prune to the limit at the end of a run, for which a cache that fails is news and no error."""
        try:
            self.prune(keep=keep)
        except CacheError as error:
            say(f"The cache is not pruned: {error}")


def parse_size(size: str | int | None, *, key: str = "extraction.cache_limit", least: int = 1) -> int | None:
    """Bytes of a size such as 500, "500MB" or "1.5 TB".

    Parameters
    ----------
    size : str, int or None
    key : str
        Where it was given, for messages.
    least : int
        The smallest size that makes sense there.

    Raises
    ------
    ConfigError
        If it is not understood, or less than `least`.
    """
    if size is None:
        return None
    match = re.fullmatch(r"\s*(\d{1,15}(?:\.\d+)?)\s*([kKmMgGtT]?[bB]?)\s*", str(size))
    if match is None or isinstance(size, (bool, float)):
        raise ConfigError("is no size", key=key, value=size, mend="Write for example 200GB")
    unit = match[2].upper()
    found = int(float(match[1]) * _UNITS[unit if not unit or unit.endswith("B") else f"{unit}B"])
    if found < least:
        raise ConfigError(f"is less than {least} byte", key=key, value=size, mend="Write for example 200GB")
    return found


def content_key(*parts: Any) -> str:
    """A key over JSON-like values: equal for equal values, 32 hexadecimal digits."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _checksum(data: pa.Buffer | bytes) -> str:
    return hashlib.blake2b(memoryview(data), digest_size=16).hexdigest()


def _number(value: Any) -> float | None:
    """A finite number from 0, or None."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
    return float(value) if good else None


def _in_use(entry: CacheEntry) -> bool:
    """Whether an entry that was listed a while ago has been used just now, or is gone."""
    info = entry.info()
    if info is None:
        return True
    ago = time.time() - info.used
    return -_CLOCKS_APART_SECONDS < ago < _IN_USE_SECONDS + _CLOCKS_APART_SECONDS


def _is_marked(store: Store) -> bool:
    """Whether a folder says that it is a cache of a format that is understood here."""
    data = store.read(_MARK)
    if data is None:
        return False
    try:
        stored = parse_json(data.to_pybytes())["format"]
    except (ValueError, KeyError, TypeError):
        stored = None
    if isinstance(stored, bool) or not isinstance(stored, int):
        raise CacheError(
            "format.json is not that of a cache", key="extraction.cache", value=store.root, mend="Use another folder"
        )
    if stored > FORMAT:
        raise CacheError(
            f"the cache was made by a newer version (format {stored}, this one reads {FORMAT})",
            key="extraction.cache",
            value=store.root,
            mend="Update asvp, or use another folder",
        )
    return True


def _require_unused(store: Store, found: Listing) -> None:
    """Raise unless a folder without a mark holds nothing that could be somebody's (hidden files are a system's)."""
    names = [*found.folders, *(file.name for file in found.files)]
    others = [name for name in names if not name.startswith(".") and name not in _HARMLESS]
    if others and _MARK not in names:
        raise CacheError(
            f"is no cache: it holds other things ({others[0]!r}) and no {_MARK}",
            key="extraction.cache",
            value=store.root,
            mend="Name an empty or new folder. If it is a cache that lost the file, "
            f'write {{"format": {FORMAT}}} into {_MARK}',
        )


def _mark(store: Store) -> None:
    """Say which format the cache has, where that is not said yet (a cache may be removed during a run)."""
    if not store.exists(_MARK):
        _require_unused(store, store.listing())
        store.write(_MARK, json.dumps({"format": FORMAT}).encode())
