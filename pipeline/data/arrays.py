"""Ready-made features in the arrays of an .npz file."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.lib.format as npy
import pyarrow as pa

from asvp.data.cursor import Cursor
from asvp.data.digests import Digests, combine
from asvp.data.feature_column import KEY, as_stored, stored_dtype
from asvp.data.labels import check_label_type, is_text, normalise
from asvp.data.source import Kind, check_rows
from asvp.data.storage import Storage, StoredFile, nearest, outside
from asvp.errors import DataError, RowError, first_line

DEFAULT_NAME = "features"

_BLOCK_BYTES = 64 << 20


class ArraySource:
    """A `Source` of the N rows of an .npz file: an array (N, D) with features, and arrays (N,) with labels and ids.

    An array that was stored without compression is memory-mapped; a compressed one is read as a stream.

    Parameters
    ----------
    storage : Storage
    file : StoredFile
    features : str
        Name of the array with the features.
    label, id : str or None
        Names of the other arrays; `label` and `id` are also found as `labels` and `ids`.
    key, value : str
        The config key and what the user wrote there, for messages.
    digests : Digests

    Raises
    ------
    DataError
        If an array is missing, has a wrong type or shape, or holds values that are not finite.
    """

    kind: Kind = "features"

    def __init__(
        self,
        storage: Storage,
        file: StoredFile,
        *,
        features: str,
        label: str | None,
        id: str | None,
        key: str,
        value: str,
        digests: Digests,
    ) -> None:
        self.storage = storage
        self.file = file
        self.name = features
        self.key = key
        self.value = value
        self._digests = digests
        self._digest: str | None = None
        self._cursor: Cursor | None = None
        self._mapped: np.ndarray | None = None
        names = self._guarded(self._names)
        if features not in names:
            mend = f"{nearest(features, names)}Arrays there: {', '.join(names)}"
            raise DataError(f"is no array of {value}", key=KEY, value=features, mend=mend)
        self._shape, self._dtype, self._fortran = self._guarded(self._header)
        self._check_shape()
        self._label_name = _first_of(names, label)
        self._id_name = _first_of(names, id)
        self._labels: pa.Array | None = None
        self._ids: pa.Array | None = None
        if self._id_name is not None:
            self._ids = self._column(self._id_name, "data.id")
        if self._label_name is not None:
            self._labels = self._column(self._label_name, "data.label")
        digests.remembered(storage, [file], f"finite {features}", lambda: str(self._guarded(self._check_finite)))

    def __getstate__(self) -> dict[str, Any]:
        # Labels and names stay with the driver; a worker that needs them reads the file.
        return {**self.__dict__, "_cursor": None, "_mapped": None, "_labels": None, "_ids": None}

    def __len__(self) -> int:
        return int(self._shape[0])

    @property
    def has_labels(self) -> bool:
        """Whether the file has an array with labels."""
        return self._label_name is not None

    def take(self, rows: np.ndarray) -> np.ndarray:
        """(n, D) float32, or float16 where it is stored so; see `Source.take`."""
        rows = check_rows(rows, len(self))
        features = np.empty((len(rows), self._shape[1]), dtype=stored_dtype(self._dtype))
        self._guarded(lambda: self._fill(features, rows))
        return features

    def place(self, row: int) -> str:
        """The row's number in the file, and its id."""
        named = "" if self._id_name is None or self._ids is None else f", id {self._ids[row].as_py()!r}"
        return f"row {row} of {self.storage.shown(self.file.path)}{named}"

    def ids(self) -> pa.Array:
        """(N,) text: the array with ids, or row numbers."""
        if self._id_name is None:
            return pa.array(np.arange(len(self))).cast(pa.large_string())
        if self._ids is None:
            self._ids = self._column(self._id_name, "data.id")
        return self._ids.cast(pa.large_string())

    def labels(self) -> pa.Array | None:
        """(N,) labels, null where text is empty; None without such an array."""
        if self._label_name is None:
            return None
        if self._labels is None:
            self._labels = self._column(self._label_name, "data.label")
        return normalise(self._labels, self._label_name)

    def digest(self) -> str:
        """Fingerprint of the file and of the array used."""
        if self._digest is None:
            self._digest = combine([self.kind, self.name, self._digests.group(self.storage, [self.file])])
        return self._digest

    def _check_shape(self) -> None:
        if self._dtype.hasobject:
            mend = "Rows of different lengths make such an array; store one matrix of numbers"
            raise DataError(f"the array in {self.value} holds objects", key=KEY, value=self.name, mend=mend)
        if len(self._shape) != 2 or not self._shape[1] or self._dtype.kind not in "fiu":
            shown = f"{self._dtype} {self._shape}"
            mend = "Store a matrix of numbers, one row for each row of the pool"
            raise DataError(f"the array in {self.value} is {shown}", key=KEY, value=self.name, mend=mend)
        if not self._shape[0]:
            raise DataError("holds no rows", key=self.key, value=self.value, mend="Give a file with rows")

    def _fill(self, features: np.ndarray, rows: np.ndarray) -> None:
        mapped = self._map()
        if mapped is not None:
            features[:] = mapped[rows]
            return
        if self._cursor is None:
            self._cursor = Cursor(np.array([0, len(self)], dtype=np.int64), lambda _: self._stream())
        for positions, block, inside in self._cursor.gather(rows):
            features[positions] = block[inside]

    def _check_finite(self) -> str:
        first = 0
        mapped = self._map()
        step = max(1, _BLOCK_BYTES // (self._shape[1] * self._dtype.itemsize))
        blocks = self._stream() if mapped is None else (mapped[row : row + step] for row in range(0, len(self), step))
        for block in blocks:
            rows = np.arange(first, first + len(block))
            as_stored(block, rows, self.name, self.value)
            first += len(block)
        return "yes"

    def _column(self, name: str, key: str) -> pa.Array:
        """A one-dimensional array of the file, checked."""
        values = self._guarded(lambda: self._load(name))
        if values.shape != (len(self),):
            message = f"the array has shape {values.shape} for {len(self)} rows of features in {self.value}"
            raise DataError(message, key=key, value=name, mend="Store one value a row")
        array = self._guarded(lambda: pa.array(self._plain(values, name, key)))
        if key == "data.label":
            check_label_type(array.type, key=key, column=name, where=self.value)
        elif not (is_text(array.type) or pa.types.is_integer(array.type)):
            mend = "Store text or whole numbers, or set data.id to null"
            raise DataError(f"has type {array.type}, which names no rows", key=key, value=name, mend=mend)
        return array

    def _plain(self, values: np.ndarray, name: str, key: str) -> np.ndarray:
        """Values in this machine's byte order, bytes as the text they are in UTF-8."""
        if values.dtype.kind not in "biufSU":
            mend = "Store text or whole numbers"
            raise DataError(f"the array in {self.value} is of type {values.dtype}", key=key, value=name, mend=mend)
        if values.dtype.kind != "S":
            return values.astype(values.dtype.newbyteorder("="), copy=False)
        try:
            return np.char.decode(values, "utf-8")
        except UnicodeDecodeError:
            row = next(row for row, value in enumerate(values.tolist()) if not _is_utf8(value))
            message = f"the array in {self.value} holds bytes that are no UTF-8, {values[row]!r}"
            mend = "Store text, np.array([...], dtype=str)"
            raise RowError(message, row=row, place=self.place(row), key=key, value=name, mend=mend) from None

    def _load(self, name: str) -> np.ndarray:
        with self.storage.open(self.file.path) as opened, np.load(opened, allow_pickle=False) as arrays:
            return np.asarray(arrays[name])

    def _names(self) -> list[str]:
        with self.storage.open(self.file.path) as opened, zipfile.ZipFile(opened) as archive:
            return [name.removesuffix(".npy") for name in archive.namelist()]

    def _header(self) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
        with self._member() as member:
            return _read_header(member)

    @contextmanager
    def _member(self) -> Iterator[Any]:
        """The features' part of the file, as a stream."""
        with (
            self.storage.open(self.file.path) as opened,
            zipfile.ZipFile(opened) as archive,
            archive.open(f"{self.name}.npy") as member,
        ):
            yield member

    def _map(self) -> np.ndarray | None:
        """The features as a memory map; None where they are compressed or lie elsewhere."""
        if self._mapped is None and self.storage.local:
            path = self.storage.full(self.file.path)
            with zipfile.ZipFile(path) as archive, open(path, "rb") as stream:
                entry = archive.getinfo(f"{self.name}.npy")
                if entry.compress_type != zipfile.ZIP_STORED:
                    return None
                # A local header is 30 bytes, then a name and an extra field whose lengths stand in its bytes 26 to 29.
                stream.seek(entry.header_offset + 26)
                name, extra = np.frombuffer(stream.read(4), dtype="<u2").tolist()
                stream.seek(entry.header_offset + 30 + name + extra)
                _read_header(stream)
                order: Any = "F" if self._fortran else "C"
                self._mapped = np.memmap(path, self._dtype, "r", stream.tell(), self._shape, order)
        return self._mapped

    def _stream(self) -> Iterator[np.ndarray]:
        """Blocks of rows of a compressed or remote array."""
        if self._fortran:
            mend = "Store np.ascontiguousarray(features)"
            raise DataError(f"the array in {self.value} lies column by column", key=KEY, value=self.name, mend=mend)
        row_bytes = self._shape[1] * self._dtype.itemsize
        step = max(1, _BLOCK_BYTES // row_bytes)
        with self._member() as member:
            _read_header(member)
            for first in range(0, len(self), step):
                rows = min(step, len(self) - first)
                content = member.read(rows * row_bytes)
                yield np.frombuffer(content, dtype=self._dtype).reshape(rows, self._shape[1])

    def _guarded(self, call: Any) -> Any:
        """Call, with a damaged or vanished file as a DataError."""

        def describe(error: Exception) -> DataError:
            message = f"is no whole .npz file of plain arrays: {first_line(error)}"
            mend = "Write it again with numpy.savez, text as np.array([...], dtype=str)"
            return DataError(message, key=self.key, value=self.value, mend=mend)

        with outside(describe):
            return call()


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_header(stream: Any) -> tuple[tuple[int, ...], np.dtype[Any], bool]:
    version = npy.read_magic(stream)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    return shape, dtype, fortran


def _first_of(names: list[str], name: str | None) -> str | None:
    """A name, or its plural, as far as there is such an array."""
    return next((known for known in (name, f"{name}s") if known in names), None) if name is not None else None
