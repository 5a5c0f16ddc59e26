"""Images come out byte for byte, from columns and from folders."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.data.tables import Tables
from asvp.errors import DataError


def encoded(number: int, format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 3), (number * 20 % 256, number, 0)).save(stream, format)
    return stream.getvalue()


IMAGES = [encoded(number) for number in range(6)]
LABELS = ["x", "y"] * 3


@pytest.fixture
def folder(tmp_path):
    for number, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        path = tmp_path / "pictures" / label / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    return tmp_path / "pictures"


@pytest.mark.parametrize("form", ["binary", "struct", "path", "absolute", "uri", "mixed"])
def test_every_form_of_image_column_gives_the_encoded_bytes(tmp_path, folder, form):
    names = [f"pictures/{label}/{number}.png" for number, label in enumerate(LABELS)]
    column = {
        "binary": pa.array(IMAGES, pa.large_binary()),
        "struct": pa.array([{"bytes": image, "path": "lost.png"} for image in IMAGES]),
        "path": pa.array(names),
        "absolute": pa.array([str(tmp_path / name) for name in names]),
        "uri": pa.array([f"file://{tmp_path / name}" for name in names]),
        "mixed": pa.array(
            [{"bytes": None, "path": name} for name in names[:3]]
            + [{"bytes": image, "path": None} for image in IMAGES[3:]]
        ),
    }[form]
    pq.write_table(pa.table({"image": column, "label": LABELS}), tmp_path / "t.parquet", row_group_size=4)
    data = open_dataset(DataConfig(pool=str(tmp_path / "t.parquet"), test=str(tmp_path / "t.parquet"), image="image"))
    assert data.kind == "image"
    wanted = np.array([5, 0, 3, 3])
    assert pickle.loads(pickle.dumps(data.pool)).take(wanted) == [IMAGES[row] for row in wanted]
    assert data.classes == ("x", "y")


def test_paths_are_relative_to_the_file_that_names_them(tmp_path):
    for part in range(2):
        (tmp_path / f"part{part}").mkdir()
        (tmp_path / f"part{part}" / "same.png").write_bytes(IMAGES[part])
        table = pa.table({"image": ["same.png"], "label": [LABELS[part]]})
        pq.write_table(table, tmp_path / f"part{part}" / "t.parquet")
    data = open_dataset(DataConfig(pool=str(tmp_path), test=str(tmp_path), image="image"))
    assert data.pool.take(np.arange(2)) == IMAGES[:2]


@pytest.mark.parametrize("prefix", ["", "imagefolder:"])
def test_an_image_folder_names_rows_by_path_and_classes_by_folder(folder, prefix):
    (folder / "x" / "deeper").mkdir()
    (folder / "x" / "deeper" / "photo.JPG").write_bytes(encoded(9, "JPEG"))
    (folder / "x" / "notes.txt").write_text("no image")
    (folder / "y" / ".hidden.png").write_bytes(b"")
    data = open_dataset(DataConfig(pool=f"{prefix}{folder}", test=f"{prefix}{folder}"))
    assert data.kind == "image"
    assert data.classes == ("x", "y")
    ids = data.pool.ids().to_pylist()
    assert ids == ["x/0.png", "x/2.png", "x/4.png", "x/deeper/photo.JPG", "y/1.png", "y/3.png", "y/5.png"]
    assert data.oracle.buy(np.arange(7)).tolist() == [0, 0, 0, 0, 1, 1, 1]
    images = pickle.loads(pickle.dumps(data.pool)).take(np.array([6, 3]))
    assert images == [IMAGES[5], encoded(9, "JPEG")]


def test_a_flat_folder_takes_its_labels_from_an_oracle_file(tmp_path, folder):
    flat = tmp_path / "flat"
    flat.mkdir()
    for number, image in enumerate(IMAGES):
        (flat / f"{number}.png").write_bytes(image)
    (tmp_path / "labels.csv").write_text("id,label\n" + "".join(f"{n}.png,{LABELS[n]}\n" for n in range(6)))
    data = open_dataset(DataConfig(pool=str(flat), test=str(folder), oracle=str(tmp_path / "labels.csv")))
    assert data.oracle.buy(np.arange(6)).tolist() == [0, 1, 0, 1, 0, 1]
    with pytest.raises(DataError, match=r"6 rows of .* have no label"):
        open_dataset(DataConfig(pool=str(flat), test=str(folder)))


def test_the_digest_of_a_folder_follows_its_files(tmp_path, folder):
    def digest(path=folder):
        return open_dataset(DataConfig(pool=str(path), test=str(path)), tmp_path / "memory").pool.digest()

    before = digest()
    assert digest() == before
    moved = folder.rename(tmp_path / "moved")
    assert digest(moved) == before
    (moved / "x" / "0.png").write_bytes(IMAGES[1])
    assert digest(moved) != before
    (moved / "x" / "0.png").write_bytes(IMAGES[0])
    assert digest(moved) == before


def test_the_digest_of_a_path_column_follows_the_files_it_names(tmp_path, folder):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"image": [f"pictures/x/{n}.png" for n in (0, 2)], "label": ["x", "y"]}), path)

    def digest():
        return open_dataset(DataConfig(pool=str(path), test=str(path), image="image")).pool.digest()

    before = digest()
    (folder / "x" / "2.png").write_bytes(IMAGES[5])
    assert digest() != before


def test_a_file_lost_after_opening_is_named(folder):
    data = open_dataset(DataConfig(pool=str(folder), test=str(folder)))
    (folder / "y" / "3.png").unlink()
    with pytest.raises(DataError, match=r"data\.pool: .*y/3\.png cannot be read"):
        data.pool.take(np.arange(6))


@pytest.mark.parametrize("form", ["parquet", "arrow"])
def test_embedded_images_are_not_read_to_open_the_table(tmp_path, monkeypatch, form):
    rows = pa.table(
        {"image": [{"bytes": image, "path": f"{n}.png"} for n, image in enumerate(IMAGES)], "label": LABELS}
    )
    path = tmp_path / f"t.{form}"
    if form == "parquet":
        pq.write_table(rows, path, row_group_size=2)
    else:
        with pa.ipc.new_file(path, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=2)
    scanned = []
    original = Tables.scan
    monkeypatch.setattr(
        Tables, "scan", lambda self, name, file=None: scanned.append(name) or original(self, name, file)
    )
    data = open_dataset(DataConfig(pool=str(path), test=str(path), image="image"))
    data.pool.digest()
    assert "image" not in scanned
    assert data.pool.take(np.arange(6)) == IMAGES
