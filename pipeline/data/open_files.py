"""Files of a store that stay open, so that each of their row groups costs no round trips beside its own bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

import pyarrow.parquet as pq

from asvp.data.storage import Storage


class OpenFiles:
    """The Parquet files of a storage that were used last, open with their footers; those on a disk are opened anew.

    Thread-safe. Picklable: each process opens them itself.

    Parameters
    ----------
    storage : Storage
    most : int
        How many stay open.
    """

    def __init__(self, storage: Storage, most: int) -> None:
        self.storage = storage
        self._most = most
        self._lock = threading.Lock()
        self._open: OrderedDict[str, Future[tuple[Any, Any]]] = OrderedDict()

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenFiles, (self.storage, self._most)

    @contextmanager
    def parquet(self, path: str) -> Iterator[pq.ParquetFile]:
        """A reader of a file, for one use: it keeps the bytes that it has read."""
        if self.storage.local:
            with self.storage.open(path) as opened:
                yield pq.ParquetFile(opened)
            return
        opened, footer = self._once_open(path)
        try:
            # All bytes of a row group's column are asked for at once.
            yield pq.ParquetFile(opened, metadata=footer, pre_buffer=True)
        except Exception:
            self._forget(path)
            raise

    def _once_open(self, path: str) -> tuple[Any, Any]:
        """The file and its footer; who asks for it while another opens it waits for that."""
        with self._lock:
            known = self._open.get(path)
            if known is not None:
                self._open.move_to_end(path)
            else:
                mine: Future[tuple[Any, Any]] = Future()
                self._open[path] = mine
                while len(self._open) > self._most:
                    self._open.popitem(last=False)
        if known is not None:
            return known.result()
        try:
            opened = self.storage.open(path)
            mine.set_result((opened, pq.ParquetFile(opened).metadata))
        except BaseException as error:
            self._forget(path)
            mine.set_exception(error)
        return mine.result()

    def _forget(self, path: str) -> None:
        with self._lock:
            self._open.pop(path, None)
