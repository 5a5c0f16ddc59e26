"""What a folder leaves out is counted and named, and what cannot be meant is refused."""

from __future__ import annotations

import io
import json
import os
import pickle
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from asvp.config import DataConfig
from asvp.data import examine, images, open_dataset
from asvp.errors import DataError


def picture(number: int, format: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (4, 4), (number * 20 % 256, number, 0)).save(stream, format)
    return stream.getvalue()


@pytest.fixture
def folder(tmp_path):
    for number in range(6):
        path = tmp_path / "photos" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return tmp_path / "photos"


def opened(pool, test=None, **config):
    return open_dataset(DataConfig(pool=str(pool), test=str(test or pool), **config))


def notes(data) -> dict[str, tuple[int, str]]:
    assert all(note.mend for note in data.notes)
    assert set(data.notes) <= set(examine(data, content=False))
    return {note.name: (note.count, note.message) for note in data.notes}


def table(path, rows=4, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = {
        "id": [f"{path.stem}{row}" for row in range(rows)],
        "text": [f"{path.stem} {row}" for row in range(rows)],
        "label": ["x", "y"] * (rows // 2),
    }
    given = {name: values for name, values in {**plain, **columns}.items() if values is not None}
    pq.write_table(pa.table(given), path)
    return path


def refused(*patterns, **config) -> None:
    with pytest.raises(DataError) as caught:
        opened(**config)
    for pattern in patterns:
        assert pattern in str(caught.value), str(caught.value)


def test_a_clean_folder_has_no_notes(folder):
    assert opened(folder).notes == ()


def test_a_class_with_an_underscore_is_a_class(folder):
    (folder / "_background_").mkdir()
    (folder / "_background_" / "n.png").write_bytes(picture(9))
    data = opened(folder)
    assert data.classes == ("_background_", "a", "b")
    assert data.notes == ()


@pytest.mark.parametrize("ending", [".jfif", ".JPE", ".tga", ".jp2", ".pbm"])
def test_every_ending_that_pillow_reads_is_read(folder, ending):
    Image.init()
    format = Image.registered_extensions()[ending.lower()]
    (folder / "a" / f"z{ending}").write_bytes(picture(3, format))
    assert f"a/z{ending}" in opened(folder).pool.ids().to_pylist()


def test_all_endings_are_known_to_pillow():
    Image.init()
    known = Image.registered_extensions()
    assert {ending for ending in images.SUFFIXES if known.get(ending) not in Image.OPEN} == set()


def test_other_files_are_counted_and_named(folder):
    for name in ("a/one.heic", "a/two.heic", "b/notes.txt", "b/.hidden.png", ".DS_Store", "Thumbs.db"):
        (folder / name).write_bytes(b"x")
    (folder / "a" / "dead.png").symlink_to(folder / "nowhere.png")
    found = notes(opened(folder))
    assert set(found) == {"left_out", "hidden_files", "no_plain_files"}
    assert found["left_out"][0] == 3
    assert "2 .heic, 1 .txt" in found["left_out"][1]
    assert "'a/one.heic'" in found["left_out"][1]
    assert found["hidden_files"][0] == found["no_plain_files"][0] == 1
    assert "'a/dead.png'" in found["no_plain_files"][1]


def test_a_class_without_an_image_is_refused(folder):
    (folder / "c").mkdir()
    refused("the class 'c' has no image", "it is empty", pool=folder)
    (folder / "c" / "x.heic").write_bytes(b"x")
    refused("none of its 1 files is read (1 .heic)", pool=folder)
    (folder / "c" / "x.heic").rename(folder / "c" / "readme.txt")
    assert notes(opened(folder))["left_out"][0] == 1


def test_links_in_circles_are_not_followed(folder):
    (folder / "a" / "up").symlink_to(folder)
    (folder / "b" / "self").symlink_to(folder / "b")
    data = opened(folder)
    assert len(data.pool) == 6
    assert notes(data)["link_loops"] == (2, notes(data)["link_loops"][1])


def test_a_link_to_another_folder_is_followed_where_it_may_lead_there(folder, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.png").write_bytes(picture(8))
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    refused("lead out of it", "c/e.png", pool=folder)
    assert opened(folder, root=str(tmp_path / "elsewhere")).classes == ("a", "b", "c")


def test_splits_are_no_classes(folder, tmp_path):
    for split in ("train", "test"):
        (tmp_path / "nest").mkdir(exist_ok=True)
        os.rename(folder, tmp_path / "nest" / split) if split == "train" else os.makedirs(tmp_path / "nest/test/a")
    (tmp_path / "nest" / "test" / "a" / "t.png").write_bytes(picture(7))
    refused("splits, not classes: test, train", "/nest/test", pool=tmp_path / "nest")
    assert opened(tmp_path / "nest" / "train").classes == ("a", "b")


def test_folders_of_the_same_names_in_every_class_are_told(tmp_path):
    for top in ("2019", "2020"):
        for inner in ("cat", "dog"):
            (tmp_path / top / inner).mkdir(parents=True)
            (tmp_path / top / inner / "x.png").write_bytes(picture(1))
    assert notes(opened(tmp_path))["nested_classes"][0] == 2


@pytest.mark.skipif(sys.platform == "darwin", reason="names are UTF-8 there")
def test_a_name_that_is_no_utf8_is_refused(folder):
    with open(os.fsencode(folder / "a") + b"/\xe9.png", "wb") as file:
        file.write(picture(1))
    refused("no UTF-8", "\\xe9", pool=folder)


def test_no_regular_file_is_no_pool(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    refused("neither a file nor a folder", pool=tmp_path / "fifo", test="builtin:debian_sections")
    refused("names nothing", pool=" ", test="builtin:debian_sections")


def test_tables_of_another_kind_beside_are_told(tmp_path):
    table(tmp_path / "set" / "a.parquet")
    (tmp_path / "set" / "b.csv").write_text("text,label\na,x\n")
    found = notes(opened(tmp_path / "set"))
    assert found["left_out"][0] == 1
    assert "'b.csv'" in found["left_out"][1]
    (tmp_path / "set" / "a.parquet").unlink()
    (tmp_path / "set" / "c.jsonl").write_text('{"text": "a", "label": "x"}\n')
    refused("both CSV and JSON Lines", pool=tmp_path / "set")


def test_images_with_a_csv_beside_stay_an_image_folder(folder):
    (folder / "labels.csv").write_text("id,label\n")
    data = opened(folder)
    assert data.kind == "image"
    assert notes(data)["left_out"][0] == 1


def test_several_splits_in_one_folder_of_tables_are_told(tmp_path):
    table(tmp_path / "data" / "train-00000-of-00001.parquet")
    table(tmp_path / "data" / "test-00000-of-00001.parquet")
    assert notes(opened(tmp_path))["splits_together"][0] == 2


def test_a_delta_lake_table_is_told(tmp_path):
    table(tmp_path / "a.parquet")
    (tmp_path / "_delta_log").mkdir()
    (tmp_path / "_delta_log" / "0.json").write_text("{}")
    assert notes(opened(tmp_path))["versioned_table"][0] == 1


def test_an_id_column_in_some_files_only_is_refused(tmp_path):
    table(tmp_path / "set" / "a.parquet", id=None)
    table(tmp_path / "set" / "b.parquet")
    refused("data.id", "1 of 2 files", "a.parquet", pool=tmp_path / "set")
    assert opened(tmp_path / "set", id=None).pool.ids().to_pylist()[:2] == ["0", "1"]


def test_a_label_column_in_some_files_only_is_refused_with_an_oracle_too(tmp_path):
    table(tmp_path / "set" / "a.parquet", label=None)
    table(tmp_path / "set" / "b.parquet")
    (tmp_path / "o.csv").write_text("id,label\n")
    test = table(tmp_path / "t.parquet")
    refused("data.label", "1 of 2 files", pool=tmp_path / "set", test=test, oracle=str(tmp_path / "o.csv"))


def test_an_id_column_of_another_case_is_told(tmp_path):
    path = table(tmp_path / "a.parquet", id=None, ID=list("abcd"))
    assert "'ID'" in notes(opened(path))["id_by_another_name"][1]


@pytest.mark.parametrize(("one", "two"), [("bike", "bike "), ("Bike", "bike"), ("é", "e\u0301"), ("a b", "a\u00a0b")])
def test_labels_that_look_alike_are_told(tmp_path, one, two):
    data = opened(table(tmp_path / "a.parquet", label=[one, two, "car", "car"]))
    assert len(data.classes) == 3
    assert notes(data)["similar_classes"][0] == 1


def test_labels_that_look_missing_are_told(tmp_path):
    data = opened(table(tmp_path / "a.parquet", label=["nan", " ", "car", "bus"]))
    assert notes(data)["odd_classes"][0] == 2


@pytest.mark.parametrize(("names", "classes"), [(("x y", "z"), ("x y", "z")), (("10", "9"), ("9", "10"))])
def test_partition_columns_are_read_from_the_names_of_folders(tmp_path, names, classes):
    for name in names:
        table(tmp_path / "set" / f"label={name.replace(' ', '%20')}" / f"{name[0]}.parquet", label=None)
    data = opened(tmp_path / "set")
    assert data.classes == classes
    texts = pickle.loads(pickle.dumps(data.pool)).take(np.arange(8))
    bought = [data.classes[number] for number in data.oracle.buy(np.arange(8))]
    assert {(text[0], label[0]) for text, label in zip(texts, bought, strict=True)} == {(n[0], n[0]) for n in names}


def test_a_partition_without_a_value_is_a_missing_label(tmp_path):
    table(tmp_path / "set" / "label=x" / "a.parquet", label=None)
    table(tmp_path / "set" / "label=__HIVE_DEFAULT_PARTITION__" / "b.parquet", label=None)
    refused("data.label", "4 rows", pool=tmp_path / "set")


class TestSavedDataSets:
    """Folders as `datasets.Dataset.save_to_disk` writes them (compared with version 5.2)."""

    @pytest.fixture
    def saved(self, tmp_path):
        return self.save(tmp_path / "saved")

    def save(self, folder, labels=(0, 1, 1, 0)):
        folder.mkdir(parents=True)
        structs = [{"bytes": picture(row), "path": None} for row in range(4)]
        rows = pa.table({"text": [f"t{row}" for row in range(4)], "label": list(labels), "image": structs})
        names = [f"data-{part:05d}-of-00002.arrow" for part in range(2)]
        for part, name in enumerate(names):
            with pa.ipc.new_stream(folder / name, rows.schema) as writer:
                writer.write_table(rows.slice(2 * part, 2))
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name} for name in names]}))
        features = {
            "text": {"dtype": "string", "_type": "Value"},
            "label": {"names": ["pos", "neg"], "_type": "ClassLabel"},
            "image": {"_type": "Image"},
        }
        (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
        return folder

    def test_class_labels_get_their_names(self, saved):
        data = opened(saved)
        assert data.classes == ("neg", "pos")
        assert [data.classes[number] for number in data.oracle.buy(np.arange(4))] == ["pos", "neg", "neg", "pos"]
        assert pickle.loads(pickle.dumps(data.pool)).take(np.arange(4)) == ["t0", "t1", "t2", "t3"]
        assert data.notes == ()

    def test_images_are_read(self, saved):
        assert opened(saved, image="image").pool.take(np.array([3, 0])) == [picture(3), picture(0)]

    def test_results_of_map_beside_are_no_rows(self, saved):
        (saved / "cache-1234.arrow").write_bytes((saved / "data-00000-of-00002.arrow").read_bytes())
        data = opened(saved)
        assert len(data.pool) == 4
        assert "'cache-1234.arrow'" in notes(data)["left_out"][1]

    def test_a_dictionary_of_splits_needs_one_named(self, tmp_path):
        for split in ("train", "test"):
            self.save(tmp_path / "all" / split)
        (tmp_path / "all" / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
        refused("splits train, test", "/all/train", pool=tmp_path / "all")
        assert opened(tmp_path / "all" / "train", tmp_path / "all" / "test").classes == ("neg", "pos")

    def test_labels_outside_the_names_are_refused_and_minus_one_is_missing(self, tmp_path):
        refused("data.label", "row 2", "5 is none of the 2", pool=self.save(tmp_path / "a", (0, 1, 5, 0)))
        refused("1 rows", "have no label", "row 3", pool=self.save(tmp_path / "b", (0, 1, 1, -1)))

    def test_damaged_descriptions_are_named(self, saved):
        (saved / "data-00001-of-00002.arrow").rename(saved / "other.arrow")
        refused("no longer", "data-00001", pool=saved)
        (saved / "state.json").write_text("{")
        refused("state.json cannot be read", pool=saved)


class TestHub:
    def test_a_missing_package_is_named(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "datasets", None)
        refused("data.pool", "package datasets", "asvp[datasets]", pool="hf:user/name:train", test="hf:user/name")

    def test_a_name_that_is_none_is_refused(self):
        refused("hf:NAME", pool="hf:../etc/passwd")
