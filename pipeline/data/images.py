"""Images: a column of encoded bytes or paths, and folders of image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from asvp.data.boundary import Boundary, address, homes_of, local_path
from asvp.data.decoding import UndecodableError, decode_image
from asvp.data.digests import Digests, combine
from asvp.data.labels import is_text
from asvp.data.source import Kind, check_rows
from asvp.data.storage import Storage, StoredFile, open_filesystem, outside, read_all
from asvp.data.table_source import check_filled, check_sizes, row_error
from asvp.data.tables import Tables
from asvp.errors import DataError, RowError, first_line

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".avifs"),
    *(".tga", ".qoi", ".pcx", ".ico", ".sgi", ".dds", ".psd"),
)
"""A list of our own, so that the rows of a folder do not depend on the plug-ins that Pillow finds."""

_LIMIT = "data.max_image_bytes"
_READERS = 8
"""Files read at once; reading waits on disks and networks, not on cores."""
_FAR_READERS = 24
"""The same in a store, where each takes round trips. Arrow's client of S3 holds 25 connections."""


class ImageColumn:
    """A column with images: encoded bytes, paths, or a struct {bytes, path} of both.

    Paths are relative to the folder of the table file; absolute paths and URIs are taken as they are. All of them have
    to stay inside a boundary, and no image may have more than so many bytes.
    """

    kind: Kind = "image"
    key = "data.image"

    def __init__(self, name: str, boundary: Boundary, max_bytes: int) -> None:
        self.name = name
        self.boundary = boundary
        self.max_bytes = max_bytes

    def check(self, tables: Tables, digests: Digests) -> None:
        """Raise a DataError for a wrong type, empty rows, a path that leads outside, a missing local file, or a first
        row that is no image.
        """
        for type, where in tables.types(self.name, self.key):
            if not (_is_bytes(type) or is_text(type) or _is_image_struct(type)):
                mend = "Store encoded images (binary), paths (text), or a struct of bytes and path"
                raise DataError(f"has type {type} in {where}, not images", key=self.key, value=self.name, mend=mend)
        check_filled(tables, self.name, self.key)
        for storage, paths, rows in self._outside(tables):
            known = self._looked_up(tables, storage, paths, rows)
            for row, path, found in zip(rows, paths, known, strict=True):
                if found is None:
                    message = f"there is no file {storage.shown(path)}"
                    raise row_error(tables, self.key, self.name, row, message)
        first = self.take(tables, np.zeros(1, dtype=np.int64))[0]
        check_image(first, tables.key, tables.value, f"row 0 ({tables.place(0)})")

    def take(self, tables: Tables, rows: np.ndarray) -> list[bytes]:
        """n encoded images."""
        images = [b""] * len(rows)
        paths: list[tuple[int, str]] = []
        for positions, values in tables.gather(self.name, rows):
            encoded = _encoded(values)
            if encoded is not None:
                check_sizes(tables, self, _LIMIT, encoded, rows[positions])
            for position, value in zip(positions.tolist(), values.to_pylist(), strict=True):
                content, path = _content_and_path(value)
                if content:
                    images[position] = content
                elif path:
                    paths.append((position, path))
                else:
                    raise row_error(tables, self.key, self.name, int(rows[position]), "there is no image")
        folders = tables.folders(rows)

        def read(job: tuple[int, str]) -> None:
            position, path = job

            def describe(error: Exception) -> DataError:
                message = f"{path} cannot be read: {_too_large(error)}"
                return row_error(tables, self.key, self.name, int(rows[position]), message)

            # Again, and now that it is read: links may have changed, and this may be another machine.
            self._require_inside(tables, folders[position], path, int(rows[position]))
            with outside(describe):
                images[position] = _read_path(tables.storage, folders[position], path, self.max_bytes)

        near = tables.storage.local and not any("://" in path for _, path in paths)
        _in_parallel(read, paths, _READERS if near else _FAR_READERS)
        return images

    def digests(self, tables: Tables, digests: Digests) -> list[str]:
        """Fingerprints of the local files that paths lead to, block by block of the table."""
        found = []
        for storage, paths, _ in self._outside(tables):
            stored = [file for file in storage.stat(paths) if file is not None]
            found.append(digests.group(storage, stored))
        return found

    def name_of(self, tables: Tables, row: int) -> str | None:
        """The path that stands for an image or beside its bytes."""
        for _, values in tables.gather(self.name, np.array([row])):
            path = _content_and_path(values[0].as_py())[1]
            return None if not path else repr(path)
        return None

    def _looked_up(
        self, tables: Tables, storage: Storage, paths: list[str], rows: list[int]
    ) -> Sequence[StoredFile | None]:
        """What is known of each file; a path that no file can have is named by its row."""
        try:
            return storage.stat(paths)
        except Exception as error:
            if len(paths) == 1:
                message = f"{paths[0]!r} cannot be looked up: {first_line(error)}"
                raise row_error(tables, self.key, self.name, rows[0], message) from None
        return [self._looked_up(tables, storage, [path], [row])[0] for path, row in zip(paths, rows, strict=True)]

    def _require_inside(self, tables: Tables, folder: str, path: str, row: int) -> None:
        """Raise a RowError for a path that leads out of the boundary."""
        if self.boundary.allow_outside:
            return
        refusal = self.boundary.refusal(address(tables.storage, folder, path), homes_of(tables.storage, folder))
        if refusal is not None:
            message = f"the image path {path!r} {refusal[0]}"
            place = tables.place(row)
            raise RowError(message, row=row, place=place, key=self.key, value=self.name, mend=refusal[1])

    def _outside(self, tables: Tables) -> Iterator[tuple[Storage, list[str], list[int]]]:
        """Local files that rows refer to: batches of paths below a storage, with their row numbers."""
        first = 0
        types = [type for type, _ in tables.types(self.name, self.key)]
        for number, (file, type) in enumerate(zip(tables.files, types, strict=True)):
            # The footer tells that a struct has all its bytes, which then need not be read to look for paths.
            if not _is_bytes(type) and file.nulls.get(f"{self.name}.bytes") != 0:
                yield from self._outside_of(tables, number, first)
            first += sum(file.groups)

    def _outside_of(self, tables: Tables, number: int, first: int) -> Iterator[tuple[Storage, list[str], list[int]]]:
        """The same for one table file, whose first row has the given number."""
        folder = tables.files[number].stored.path.rpartition("/")[0]
        for block in tables.scan(self.name, number):
            near: list[tuple[str, int]] = []
            far: list[tuple[str, int]] = []
            for row, value in enumerate(block.to_pylist(), first):
                content, path = _content_and_path(value)
                if content or not path:
                    continue
                self._require_inside(tables, folder, path, row)
                path = local_path(path)
                if "://" in path:
                    continue
                if path.startswith("/"):
                    far.append((path.lstrip("/"), row))
                elif tables.storage.local:
                    near.append((str(PurePosixPath(folder, path)), row))
            for storage, jobs in ((tables.storage, near), (Storage("/"), far)):
                if jobs:
                    yield storage, [path for path, _ in jobs], [row for _, row in jobs]
            first += len(block)


class ImageFolder:
    """A `Source` of N image files below a folder; the first sub-folder on a file's way names its class.

    Parameters
    ----------
    storage : Storage
    stored : list of StoredFile
        Sorted by path.
    max_bytes : int
        Most that one file may have.
    key, value : str
        The config key and what the user wrote there, for messages.
    digests : Digests

    Raises
    ------
    DataError
        If a file is empty or too large, or the first one is no image.
    """

    kind: Kind = "image"

    def __init__(
        self,
        storage: Storage,
        stored: list[StoredFile],
        max_bytes: int,
        *,
        key: str,
        value: str,
        digests: Digests,
    ) -> None:
        self.storage = storage
        self._max_bytes = max_bytes
        self.key = key
        self.value = value
        self._digests = digests
        self._digest: str | None = None
        # Arrays instead of objects: a pool of a million files travels to every worker.
        self._paths = pa.array([file.path for file in stored], pa.large_string())
        self._sizes = np.array([file.size for file in stored], dtype=np.int64)
        self._times = np.array([-1 if file.mtime_ns is None else file.mtime_ns for file in stored], dtype=np.int64)
        empty = np.flatnonzero(self._sizes == 0)
        if len(empty):
            shown = storage.shown(stored[empty[0]].path)
            mend = "Write it again, or take it out of the folder"
            raise DataError(f"{len(empty)} files are empty, the first is {shown}", key=key, value=value, mend=mend)
        large = np.flatnonzero(self._sizes > max_bytes)
        if len(large):
            file = stored[large[0]]
            message = f"{len(large)} files have more than {max_bytes:,} bytes, the first is {storage.shown(file.path)}"
            raise DataError(message, key=key, value=value, mend=f"Take it out of the folder, or raise {_LIMIT}")
        check_image(self.take(np.zeros(1, dtype=np.int64))[0], key, value, storage.shown(stored[0].path))

    def __len__(self) -> int:
        return len(self._paths)

    def take(self, rows: np.ndarray) -> list[bytes]:
        """n encoded images; see `Source.take`."""
        rows = check_rows(rows, len(self))
        paths = self._paths.take(pa.array(rows)).to_pylist()
        images = [b""] * len(rows)

        def read(job: tuple[int, str]) -> None:
            position, path = job

            def describe(error: Exception) -> DataError:
                message = f"{self.storage.shown(path)} cannot be read: {_too_large(error)}"
                mend = "Put the file back, or start again without it"
                return RowError(message, row=int(rows[position]), key=self.key, value=self.value, mend=mend)

            with outside(describe):
                images[position] = self.storage.read(path, self._max_bytes)

        _in_parallel(read, list(enumerate(paths)), _READERS if self.storage.local else _FAR_READERS)
        return images

    def excerpt(self, rows: np.ndarray) -> ImageFolder:
        """The images of some rows alone, as `excerpt_of`."""
        found = copy(self)
        found._paths = self._paths.take(pa.array(rows))
        found._sizes, found._times, found._digest = self._sizes[rows], self._times[rows], None
        return found

    def place(self, row: int) -> str:
        """The path of an image."""
        return self.storage.shown(self._paths[row].as_py())

    def ids(self) -> pa.Array:
        """(N,) text: paths below the folder."""
        return self._paths

    def labels(self) -> pa.Array | None:
        """(N,) names of the sub-folders, null for files beside them; None where there is no sub-folder."""
        tops = [top if rest else None for top, _, rest in (path.partition("/") for path in self._paths.to_pylist())]
        return pa.array(tops, pa.large_string()) if any(top is not None for top in tops) else None

    def digest(self) -> str:
        """Fingerprint of all files, found out and remembered folder by folder."""
        if self._digest is None:
            folders: dict[str, list[StoredFile]] = {}
            times = (None if time < 0 else time for time in self._times.tolist())
            for path, size, time in zip(self._paths.to_pylist(), self._sizes.tolist(), times, strict=True):
                folders.setdefault(path.rpartition("/")[0], []).append(StoredFile(path, size, time))
            with ThreadPoolExecutor(_READERS) as readers:
                found = list(readers.map(lambda files: self._digests.group(self.storage, files), folders.values()))
            self._digest = combine([self.kind, *found])
        return self._digest


def check_image(content: bytes, key: str, value: str, name: str) -> None:
    """Raise a DataError unless the bytes can be decoded as an image."""
    reason = undecodable(content)
    if reason is not None:
        mend = "Give encoded images, such as JPEG, PNG or WebP"
        raise DataError(f"{name} is no image that Pillow can read: {reason}", key=key, value=value, mend=mend)


def undecodable(content: bytes) -> str | None:
    """Why an encoded image has no pixels that could be used; None where it has. It is decoded to find out."""
    try:
        decode_image(content)
    except UndecodableError as error:
        return str(error)
    return None


def _in_parallel(work: Callable[[tuple[int, str]], None], jobs: list[tuple[int, str]], readers: int) -> None:
    with ThreadPoolExecutor(readers) as threads:
        for _ in threads.map(work, jobs):
            pass


def _too_large(error: Exception) -> str:
    return f"{first_line(error)}, which is what {_LIMIT} allows" if isinstance(error, ValueError) else first_line(error)


def _read_path(storage: Storage, folder: str, path: str, most: int) -> bytes:
    path = local_path(path)
    if "://" in path:
        filesystem, inside = open_filesystem(path)
        with filesystem.open_input_stream(inside) as stream:
            return read_all(stream, most)
    if path.startswith("/"):
        return Storage("/").read(path.lstrip("/"), most)
    return storage.read(str(PurePosixPath(folder, path)), most)


def _encoded(values: pa.Array) -> pa.Array | None:
    """The bytes of images in a column, where it has any."""
    if _is_bytes(values.type):
        return values
    has_bytes = pa.types.is_struct(values.type) and values.type.get_field_index("bytes") >= 0
    return values.field("bytes") if has_bytes else None


def _content_and_path(value: object) -> tuple[bytes | None, str | None]:
    if isinstance(value, dict):
        return value.get("bytes"), value.get("path")
    return (value, None) if isinstance(value, bytes) else (None, str(value) if value is not None else None)


def _is_bytes(type: pa.DataType) -> bool:
    return bool(pa.types.is_binary(type) or pa.types.is_large_binary(type) or pa.types.is_binary_view(type))


def _is_image_struct(type: pa.DataType) -> bool:
    if not pa.types.is_struct(type):
        return False
    fields = {field.name: field.type for field in type}
    return ("bytes" in fields and _is_bytes(fields["bytes"])) or ("path" in fields and is_text(fields["path"]))
