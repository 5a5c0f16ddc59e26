"""Files that would run a program if anybody unpickled them: the program makes a folder, which shows that it ran."""

from __future__ import annotations

import gzip
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

PYTHON_OBJECT = "ray.data.arrow_pickled_object"
"""The extension type of Ray Data whose values are pickles."""


class Charge:
    """What its pickle does is make a folder."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.marker),)


def forms(marker: Path) -> dict[str, bytes]:
    """The same program as the bytes of each kind of file that some reader unpickles."""
    charge = Charge(marker)
    return {
        "pickle": pickle.dumps(charge),
        "pickle of protocol 0": pickle.dumps(charge, protocol=0),
        "gzip": gzip.compress(pickle.dumps(charge)),
        "torch": _torch(charge, zipped=True),
        "old torch": _torch(charge, zipped=False),
        "npy": _npy(charge),
        "npz": npz({"features": np.array([charge], dtype=object)}),
        "parquet": _buffer(lambda sink: pq.write_table(python_objects(charge, "text", "label", "row"), sink)),
        "arrow": arrow(python_objects(charge, "row", "feature")),
    }


def npz(arrays: dict[str, np.ndarray]) -> bytes:
    """An .npz file, objects and all."""
    return _buffer(lambda sink: np.savez(sink, allow_pickle=True, **arrays))


def python_objects(charge: Charge, *names: str) -> pa.Table:
    """A table of two rows whose columns are Ray's Python objects."""
    meant = {b"ARROW:extension:name": PYTHON_OBJECT.encode(), b"ARROW:extension:metadata": b""}
    schema = pa.schema([pa.field(name, pa.large_binary(), metadata=meant) for name in names])
    return pa.table([pa.array([pickle.dumps(charge)] * 2, pa.large_binary()) for _ in names], schema=schema)


def arrow(table: pa.Table) -> bytes:
    """A table as an Arrow file."""

    def write(sink: Any) -> None:
        with pa.ipc.new_file(sink, table.schema) as writer:
            writer.write_table(table)

    return _buffer(write)


def _torch(charge: Charge, *, zipped: bool) -> bytes:
    return _buffer(lambda sink: torch.save({"weight": charge}, sink, _use_new_zipfile_serialization=zipped))


def _npy(charge: Charge) -> bytes:
    return _buffer(lambda sink: np.save(sink, np.array([charge], dtype=object), allow_pickle=True))


def _buffer(write: Callable[[Any], Any]) -> bytes:
    sink = io.BytesIO()
    write(sink)
    return sink.getvalue()
