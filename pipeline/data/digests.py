"""Fingerprints of file contents, remembered so that an unchanged file is not read again."""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from asvp.data.storage import Storage, StoredFile, outside
from asvp.errors import DataError, first_line

_VERSION = "1"
_CHUNK = 8 << 20
_TAIL = 64 << 10
_SETTLED_NS = 3_000_000_000
"""A file younger than this may change again within one tick of its clock, so its fingerprint is not remembered."""


class Digests:
    """Fingerprints of files, with a memory on disk.

    A local file is fingerprinted by all of its bytes. The result is remembered under its path, size and time of change,
    and as long as those three stay, the file is trusted to be the same. An object in a store is fingerprinted by its
    address, size, time of change and last 64 KiB, which hold the footer of a Parquet file; the rest is not downloaded.

    Parameters
    ----------
    folder : Path, optional
        Where to remember; one small file an entry, written atomically, so that several processes may share it.
        None: nothing is remembered beyond this process.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def files(self, storage: Storage, stored: Sequence[StoredFile]) -> list[str]:
        """Fingerprint of each file."""
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as workers:
            return list(workers.map(lambda file: self.group(storage, [file]), stored))

    def group(self, storage: Storage, stored: Sequence[StoredFile]) -> str:
        """One fingerprint of several files in their order, remembered as one entry.

        Raises
        ------
        DataError
            If a file changed since it was listed.
        """

        def describe(error: Exception) -> DataError:
            shown = storage.shown(stored[0].path)
            message = f"{len(stored)} files from {shown} on cannot be read: {first_line(error)}"
            return DataError(message, key="data", mend="Put the files back and start again")

        with outside(describe):
            return self.remembered(storage, stored, "content", lambda: _content(storage, stored))

    def remembered(self, storage: Storage, stored: Sequence[StoredFile], fact: str, find_out: Callable[[], str]) -> str:
        """A fact about the content of files, found out once for each state of the files.

        Parameters
        ----------
        fact : str
            What the answer is about; different questions have different facts.
        find_out : callable
            Finds the answer, any short text without line breaks.
        """
        entry = self._entry(storage, stored, fact)
        known = _read(entry) if entry is not None else None
        if known is not None:
            return known
        answer = find_out()
        if entry is not None and all(_settled(file) for file in stored):
            _write(entry, answer)
        return answer

    def _entry(self, storage: Storage, stored: Sequence[StoredFile], fact: str) -> Path | None:
        if self.folder is None or any(file.mtime_ns is None for file in stored):
            return None
        state = hashlib.blake2b(f"{_VERSION}\n{fact}\n".encode(), digest_size=16)
        for file in stored:
            state.update(f"{storage.shown(file.path)}\n{file.size}\n{file.mtime_ns}\n".encode())
        name = state.hexdigest()
        return self.folder / name[:2] / name[2:]


def combine(parts: Sequence[str]) -> str:
    """One fingerprint of several texts in their order."""
    state = hashlib.blake2b(digest_size=16)
    for part in parts:
        encoded = part.encode()
        state.update(len(encoded).to_bytes(8, "little") + encoded)
    return state.hexdigest()


def _content(storage: Storage, stored: Sequence[StoredFile]) -> str:
    found = [_of_bytes(storage, file) if storage.local else _of_object(storage, file) for file in stored]
    now = storage.stat([file.path for file in stored])
    for file, state in zip(stored, now, strict=True):
        if state != file:
            shown = storage.shown(file.path)
            raise DataError("changed while it was being read", key="data", value=shown, mend="Start again")
    return found[0] if len(found) == 1 else combine(found)


def _of_bytes(storage: Storage, file: StoredFile) -> str:
    state = hashlib.blake2b(digest_size=16)
    with open(storage.full(file.path), "rb") as stream:
        while chunk := stream.read(_CHUNK):
            state.update(chunk)
    return state.hexdigest()


def _of_object(storage: Storage, file: StoredFile) -> str:
    with storage.open(file.path) as opened:
        opened.seek(max(0, file.size - _TAIL))
        tail = hashlib.blake2b(opened.read(_TAIL), digest_size=16).hexdigest()
    return combine([storage.shown(file.path), str(file.size), str(file.mtime_ns), tail])


def _settled(file: StoredFile) -> bool:
    return file.mtime_ns is not None and time.time_ns() - file.mtime_ns > _SETTLED_NS


def _read(entry: Path) -> str | None:
    """The answer in an entry; None where there is none or the entry is damaged."""
    try:
        answer, _, check = entry.read_text(encoding="utf-8").rstrip("\n").rpartition(" ")
    except (OSError, UnicodeDecodeError):
        return None
    return answer if answer and check == combine([answer]) else None


def _write(entry: Path, answer: str) -> None:
    """Write an entry at once or not at all; without it the answer is only found out again."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=entry.parent)
        try:
            with open(descriptor, "w", encoding="utf-8") as stream:
                stream.write(f"{answer} {combine([answer])}\n")
            os.replace(temporary, entry)
        except OSError:
            os.unlink(temporary)
    except OSError:
        pass
