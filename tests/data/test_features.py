"""Ready-made features come out as stored, from list columns and from .npz files."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asvp.config import DataConfig
from asvp.data import open_dataset

ROWS, WIDTH = 40, 5
FEATURES = np.random.default_rng(0).normal(size=(ROWS, WIDTH)).astype(np.float32)
LABELS = np.arange(ROWS) % 3
WANTED = np.array([39, 0, 17, 17, 2])


def check(data, expected=FEATURES, dtype=np.float32):
    assert data.kind == "features"
    taken = pickle.loads(pickle.dumps(data.pool)).take(WANTED)
    assert taken.dtype == dtype
    np.testing.assert_array_equal(taken, expected[WANTED].astype(dtype))
    parts = [data.pool.take(np.arange(first, min(first + 7, ROWS))) for first in range(0, ROWS, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), expected.astype(dtype))
    assert data.pool.take(np.array([], dtype=np.int64)).shape == (0, WIDTH)
    assert data.oracle.buy(np.arange(5)).tolist() == [0, 1, 2, 0, 1]


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", "int16"])
def test_npz_arrays(tmp_path, compressed, dtype, monkeypatch):
    monkeypatch.setattr("asvp.data.arrays._BLOCK_BYTES", 100)
    features = (FEATURES * 100).astype(dtype)
    save = np.savez_compressed if compressed else np.savez
    save(tmp_path / "f.npz", labels=LABELS, features=features, ids=np.array([f"r{row}" for row in range(ROWS)]))
    path = str(tmp_path / "f.npz")
    data = open_dataset(DataConfig(pool=path, test=path))
    check(data, features, np.float16 if dtype == "float16" else np.float32)
    assert data.pool.ids()[3].as_py() == "r3"


def test_npz_arrays_may_have_other_names(tmp_path):
    np.savez(tmp_path / "f.npz", clip=FEATURES, y=LABELS.astype("U1"), other=np.zeros(3))
    path = str(tmp_path / "f.npz")
    check(open_dataset(DataConfig(pool=path, test=path, features="clip", label="y")))


def test_npz_stored_column_by_column_is_mapped(tmp_path):
    np.savez(tmp_path / "f.npz", features=np.asfortranarray(FEATURES), labels=LABELS)
    check(open_dataset(DataConfig(pool=str(tmp_path / "f.npz"), test=str(tmp_path / "f.npz"))))


@pytest.mark.parametrize("form", ["fixed", "list", "large", "tensor", "half"])
def test_list_columns(tmp_path, form):
    flat = pa.array(FEATURES.ravel().astype(np.float16) if form == "half" else FEATURES.ravel())
    fixed = pa.FixedSizeListArray.from_arrays(flat, WIDTH)
    column = {
        "fixed": fixed,
        "half": fixed,
        "list": fixed.cast(pa.list_(pa.float32())) if form != "half" else None,
        "large": fixed.cast(pa.large_list(pa.float32())) if form != "half" else None,
        "tensor": pa.ExtensionArray.from_storage(pa.fixed_shape_tensor(flat.type, [WIDTH]), fixed),
    }[form]
    path = str(tmp_path / "f.parquet")
    pq.write_table(pa.table({"embedding": column, "label": LABELS}), path, row_group_size=11)
    data = open_dataset(DataConfig(pool=path, test=path, features="embedding"))
    check(data, dtype=np.float16 if form == "half" else np.float32)


def test_values_are_looked_at_once_for_each_state_of_a_file(tmp_path, monkeypatch):
    import os

    path = tmp_path / "f.parquet"
    pq.write_table(pa.table({"f": list(FEATURES), "label": LABELS}), path)
    os.utime(path, (1, 1))
    config = DataConfig(pool=str(path), test=str(path), features="f")
    open_dataset(config, tmp_path / "memory")
    scans = []
    from asvp.data.tables import Tables

    original = Tables.scan
    monkeypatch.setattr(Tables, "scan", lambda self, name, file=None: scans.append(name) or original(self, name, file))
    open_dataset(config, tmp_path / "memory")
    assert "f" not in scans
    os.utime(path, (2, 2))
    open_dataset(config, tmp_path / "memory")
    assert "f" in scans
