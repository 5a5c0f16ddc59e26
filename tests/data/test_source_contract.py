"""What every kind of source promises."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from asvp.config import DataConfig
from asvp.data import Source, open_dataset

COUNT = 10
LABELS = ["x", "y"] * (COUNT // 2)
FEATURES = np.arange(COUNT * 3, dtype=np.float32).reshape(COUNT, 3)


def picture(number: int) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (2, 2), (number, 0, 0)).save(stream, "PNG")
    return stream.getvalue()


def table(folder, **columns):
    pq.write_table(pa.table({**columns, "label": LABELS}), folder / "t.parquet", row_group_size=4)
    return str(folder / "t.parquet")


def text_table(folder):
    return {"pool": table(folder, text=[f"t{row}" for row in range(COUNT)])}


def stream_of_text(folder):
    rows = pa.table({"text": [f"t{row}" for row in range(COUNT)], "label": LABELS})
    with pa.ipc.new_stream(folder / "t.arrow", rows.schema) as writer:
        writer.write_table(rows, max_chunksize=4)
    return {"pool": str(folder / "t.arrow")}


def image_table(folder):
    return {"pool": table(folder, image=[picture(row) for row in range(COUNT)]), "image": "image"}


def path_table(folder):
    for row in range(COUNT):
        (folder / f"{row}.png").write_bytes(picture(row))
    return {"pool": table(folder, image=[f"{row}.png" for row in range(COUNT)]), "image": "image"}


def image_folder(folder):
    for row, label in enumerate(LABELS):
        (folder / "f" / label).mkdir(parents=True, exist_ok=True)
        (folder / "f" / label / f"{row}.png").write_bytes(picture(row))
    return {"pool": str(folder / "f")}


def feature_table(folder):
    return {"pool": table(folder, f=list(FEATURES)), "features": "f"}


def mapped_arrays(folder):
    np.savez(folder / "f.npz", features=FEATURES, labels=LABELS)
    return {"pool": str(folder / "f.npz")}


def compressed_arrays(folder):
    np.savez_compressed(folder / "f.npz", features=FEATURES, labels=LABELS)
    return {"pool": str(folder / "f.npz")}


def builtin(folder):
    return {"pool": "builtin:debian_sections", "limit": COUNT}


CASES = [
    text_table,
    stream_of_text,
    image_table,
    path_table,
    image_folder,
    feature_table,
    mapped_arrays,
    compressed_arrays,
    builtin,
]


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def config(request, tmp_path):
    options = request.param(tmp_path)
    return DataConfig(test=options["pool"], **options)


def as_list(rows) -> list:
    return [row.tobytes() if isinstance(row, np.ndarray) else row for row in rows]


def test_every_source_keeps_the_contract(config):
    data = open_dataset(config)
    pool = data.pool
    assert isinstance(pool, Source)
    assert len(pool) == COUNT
    everything = as_list(pool.take(np.arange(COUNT)))
    assert len(set(everything)) == COUNT
    shuffled = np.array([7, 1, 1, 9, 0])
    assert as_list(pool.take(shuffled)) == [everything[row] for row in shuffled]
    assert len(pool.take(np.empty(0, dtype=np.int64))) == 0
    for outside in ([COUNT], [-1]):
        with pytest.raises(IndexError):
            pool.take(np.array(outside))
    names = pool.ids()
    assert len(names) == COUNT
    assert len(set(names.to_pylist())) == COUNT
    assert all(isinstance(name, str) for name in names.to_pylist())
    assert pool.labels() is None
    assert len(data.test.labels()) == len(data.test)
    assert len(data.oracle.buy(np.arange(COUNT))) == COUNT


def test_every_source_travels_and_reads_the_same_elsewhere(config):
    pool = open_dataset(config).pool
    first = as_list(pool.take(np.arange(3)))
    twin = pickle.loads(pickle.dumps(pool))
    assert as_list(twin.take(np.arange(3))) == first
    assert twin.ids() == pool.ids()
    assert twin.digest() == pool.digest()


def test_every_digest_is_repeatable_and_follows_the_choice_of_rows(config):
    digest = open_dataset(config).pool.digest()
    assert int(digest, 16) >= 0
    assert open_dataset(config).pool.digest() == digest
    fewer = config.model_copy(update={"limit": COUNT // 2, "shuffle_seed": 4})
    assert open_dataset(fewer).pool.digest() != digest
