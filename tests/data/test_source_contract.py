"""What every kind of source promises; the promises themselves are `asvp.data.testing`."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.data.source import View, check_rows
from asvp.data.testing import PROMISES

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


def as_list(rows) -> list:
    return [row.tobytes() if isinstance(row, np.ndarray) else row for row in rows]


@pytest.fixture(params=CASES, ids=lambda case: case.__name__)
def config(request, tmp_path):
    options = request.param(tmp_path)
    return DataConfig(test=options["pool"], **options)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_every_source_keeps_every_promise(config, promise):
    promise(lambda: open_dataset(config).pool)
    promise(lambda: open_dataset(config).test)


def test_a_dataset_hides_the_labels_of_the_pool_and_gives_those_of_the_test_rows(config):
    data = open_dataset(config)
    assert len(data.pool) == COUNT
    assert len(set(as_list(data.pool.take(np.arange(COUNT))))) == COUNT
    assert data.pool.labels() is None
    assert len(data.test.labels()) == len(data.test)
    assert len(data.oracle.buy(np.arange(COUNT))) == COUNT


def test_a_digest_follows_the_choice_of_rows(config):
    fewer = config.model_copy(update={"limit": COUNT // 2, "shuffle_seed": 4})
    assert open_dataset(fewer).pool.digest() != open_dataset(config).pool.digest()


class Broken(View):
    """Five features, with one promise broken."""

    def __init__(self, **broken):
        super().__init__(Numbers())
        vars(self).update(broken)


class Numbers:
    kind = "features"

    def __len__(self):
        return 5

    def take(self, rows):
        return np.arange(10, dtype=np.float32).reshape(5, 2)[check_rows(rows, 5)]

    def ids(self):
        return pa.array([f"r{row}" for row in range(5)])

    def labels(self):
        return None

    def digest(self):
        return "0a"


def unsorted(rows):
    return Numbers().take(np.sort(rows))


def counted_from_the_end(rows):
    return np.zeros((len(rows), 2), np.float32)


def without_width(rows):
    return Numbers().take(rows) if len(rows) else np.empty((0, 0), np.float32)


def not_cut(rows):
    return Numbers()


def keep_every_promise(open_source):
    for promise in PROMISES:
        promise(open_source)


BROKEN = [
    ({"take": unsorted}, "row 4 is another one"),
    ({"take": counted_from_the_end}, "no IndexError"),
    ({"take": lambda rows: Numbers().take(rows).astype(np.float64)}, "float64"),
    ({"take": lambda rows: Numbers().take(rows).tolist()}, "as a list"),
    ({"take": without_width}, r"shape \(0, 0\), not"),
    ({"ids": lambda: pa.array(["r"] * 5)}, "two rows have one id"),
    ({"ids": lambda: pa.array(range(5))}, "ids are int64"),
    ({"labels": lambda: pa.array(["x"] * 4)}, "5 rows have 4 labels"),
    ({"labels": lambda: pa.array([0.5] * 5)}, "labels are double"),
    ({"digest": lambda: "not hexadecimal"}, "not hexadecimal"),
    ({"handle": lambda: None}, "cannot be pickled"),
    ({"excerpt": not_cut}, "an excerpt of 2 rows has 5"),
]


@pytest.mark.parametrize(("broken", "message"), BROKEN, ids=[message for _, message in BROKEN])
def test_a_source_that_breaks_a_promise_is_caught(broken, message):
    with pytest.raises(AssertionError, match=message):
        keep_every_promise(lambda: Broken(**broken))


def test_what_is_no_source_is_caught():
    with pytest.raises(AssertionError, match="a list lacks"):
        PROMISES[0](lambda: [1, 2, 3])
