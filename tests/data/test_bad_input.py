"""Bad input is found by open_dataset: one DataError that names key, value and mend."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.errors import DataError

GOOD = {"id": ["a", "b", "c"], "text": ["one", "two", "three"], "label": ["x", "y", "x"]}


@pytest.fixture
def make(tmp_path):
    """Write columns over the good ones as Parquet; gives the path."""

    def write(name="pool.parquet", **columns):
        table = pa.table({key: values for key, values in {**GOOD, **columns}.items() if values is not None})
        pq.write_table(table, tmp_path / name)
        return str(tmp_path / name)

    return write


@pytest.fixture
def good(make):
    return make("good.parquet")


def refused(*patterns: str, **config) -> DataError:
    """The error of opening, whose text must hold all patterns and whose parts must be complete."""
    with pytest.raises(DataError) as caught:
        open_dataset(DataConfig(**config))
    error = caught.value
    for pattern in patterns:
        assert pattern in str(error), f"{pattern!r} is not in: {error}"
    assert error.key
    assert error.key.startswith("data.")
    assert error.value is not None
    assert error.mend
    assert "\n" not in str(error)
    return error


def test_unknown_builtin_set(good):
    refused("data.pool", "debian_section", "Did you mean 'debian_sections'?", pool="builtin:debian_section", test=good)


def test_missing_file(good, tmp_path):
    refused("data.test", "Did you mean 'good.parquet'?", pool=good, test=str(tmp_path / "god.parquet"))
    refused("no such file", pool=str(tmp_path / "nowhere" / "x.parquet"), test=good)


def test_uri_of_an_unknown_kind(good):
    refused("data.pool", "nonsense://a/b", pool="nonsense://a/b", test=good)


def test_folder_without_tables(good, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "a.heic").write_bytes(b"x")
    refused("data.pool", "without table or image files", "1 .heic", pool=str(tmp_path / "empty"), test=good)


def test_file_that_is_no_table(good, tmp_path):
    path = tmp_path / "a.table"
    path.write_text("text,label\none,x\n")
    refused("data.pool", "no whole Parquet or Arrow file", pool=str(path), test=good)


@pytest.mark.parametrize("keep", [0, 3, 100, -10])
def test_truncated_parquet(make, good, tmp_path, keep):
    content = (tmp_path / "good.parquet").read_bytes()
    path = tmp_path / "cut.parquet"
    path.write_bytes(content[:keep])
    refused("data.pool", "cut.parquet is no whole Parquet", pool=str(path), test=good)


def test_truncated_arrow(good, tmp_path):
    table = pa.table(GOOD)
    with pa.ipc.new_file(tmp_path / "a.arrow", table.schema) as writer:
        writer.write_table(table)
    path = tmp_path / "cut.arrow"
    path.write_bytes((tmp_path / "a.arrow").read_bytes()[:-30])
    refused("data.pool", "cut.arrow is no whole", pool=str(path), test=good)


def test_parquet_with_damaged_pages_is_refused_when_read(make, tmp_path):
    rows = 2_000
    path = tmp_path / "p.parquet"
    texts = [f"text {row * 7919 % rows}" for row in range(rows)]
    pq.write_table(pa.table({"label": ["a", "b"] * (rows // 2), "text": texts}), path, compression="zstd")
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    start = column.dictionary_page_offset or column.data_page_offset
    content[start : start + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    path.write_bytes(content)
    data = open_dataset(DataConfig(pool=str(path), test=str(path)))
    with pytest.raises(DataError, match=r"data\.pool: .*no whole Parquet"):
        data.pool.take(np.arange(rows))


def test_a_file_that_vanishes_is_named(make, tmp_path):
    path = make()
    data = open_dataset(DataConfig(pool=path, test=path))
    (tmp_path / "pool.parquet").unlink()
    with pytest.raises(DataError, match=r"pool\.parquet"):
        data.pool.take(np.arange(3))


def test_empty_pool(make, good):
    empty = make("empty.parquet", id=pa.array([], "string"), text=pa.array([], "string"), label=pa.array([], "string"))
    refused("data.pool", "holds no rows", pool=empty, test=good)


@pytest.mark.parametrize("key", ["text", "label", "id", "image", "features"])
def test_wrong_column(good, key):
    error = refused(
        f"data.{key}",
        "Columns there: id, text, label",
        pool=good,
        test=good,
        **{key: f"{key}s" if key != "id" else "ids"},
    )
    if key in GOOD:
        assert f"Did you mean {key!r}?" in str(error)


def test_wrong_column_in_the_test_rows_or_in_a_later_file(make, good, tmp_path):
    refused("data.text", "t.parquet", pool=good, test=make("t.parquet", text=None, txt=GOOD["text"]))
    (tmp_path / "many").mkdir()
    make("many/a.parquet")
    make("many/b.parquet", label=None)
    refused("data.label", "b.parquet", pool=str(tmp_path / "many"), test=good)


def test_text_column_that_is_no_text(make, good):
    refused("data.text", "int64", pool=make(text=[1, 2, 3]), test=good)


def test_rows_without_text(make, good):
    refused("data.text", "1 rows of", pool=make(text=["one", None, "three"]), test=good)


def test_rows_without_label(make, good):
    refused("data.label", "the first is row 1", "data.oracle", pool=make(label=["x", None, "y"]), test=good)
    refused("data.label", "the first is row 2", pool=make(label=["x", "y", ""]), test=good)
    refused("data.label", "t.parquet", pool=good, test=make("t.parquet", label=["x", "y", None]))
    refused("data.label", pool=make(label=pa.nulls(3)), test=make("t.parquet", label=pa.nulls(3)))


def test_labels_that_name_no_classes(make, good):
    refused("data.label", "double", "Int64", pool=make(label=[1.0, 2.0, None]), test=good)
    refused("data.label", "list", pool=make(label=[["x"], ["y"], ["x"]]), test=good)


def test_mixed_label_types(make, good, tmp_path):
    refused("data.label", "text", "whole numbers", pool=good, test=make("t.parquet", label=[1, 2, 1]))
    refused("data.label", "booleans", pool=make(label=[True, False, True]), test=make("t.parquet", label=[1, 2, 1]))
    (tmp_path / "many").mkdir()
    make("many/a.parquet")
    make("many/b.parquet", label=[1, 2, 3])
    refused("data.label", "b.parquet", pool=str(tmp_path / "many"), test=good)


def test_one_class(make, good):
    refused("data.label", "'x'", "at least two classes", pool=make(label=["x", "x", "x"]), test=good)
    refused("data.limit", pool=good, test=good, limit=1)


def test_ids_that_name_no_rows(make, good):
    refused("data.id", "double", pool=make(id=[1.5, 2.5, 3.5]), test=good)
    refused("data.id", "no value", pool=make(id=["a", None, "c"]), test=good)


def test_share_too_small(good):
    refused("data.test_share", "holds out none", pool=good, test=None, test_share=0.01)


class TestOracle:
    def oracle(self, tmp_path, text):
        (tmp_path / "o.csv").write_text(text)
        return str(tmp_path / "o.csv")

    def test_id_twice_in_the_pool(self, make, good, tmp_path):
        path = self.oracle(tmp_path, "id,label\na,x\nb,y\n")
        refused("data.id", "'a'", pool=make(id=["a", "a", "b"], label=None), test=good, oracle=path)

    def test_id_twice_in_the_oracle(self, make, good, tmp_path):
        path = self.oracle(tmp_path, "id,label\na,x\nb,y\nb,y\nc,y\n")
        refused("data.oracle", "'b'", pool=make(label=None), test=good, oracle=path)

    def test_id_not_in_the_oracle(self, make, good, tmp_path):
        path = self.oracle(tmp_path, "id,label\na,x\nC,y\n")
        refused("data.oracle", "2 pool rows", "'b'", pool=make(label=None), test=good, oracle=path)

    def test_row_without_label_in_the_oracle(self, make, good, tmp_path):
        path = self.oracle(tmp_path, "id,label\na,x\nb,\nc,y\n")
        refused("data.label", "row 1", pool=make(label=None), test=good, oracle=path)

    def test_wrong_columns(self, make, good, tmp_path):
        path = self.oracle(tmp_path, "id,lable\na,x\n")
        refused("data.oracle", "Did you mean 'lable'?", pool=make(label=None), test=good, oracle=path)

    def test_missing_or_damaged_file(self, make, good, tmp_path):
        refused("data.oracle", pool=make(label=None), test=good, oracle=str(tmp_path / "none.csv"))
        refused("data.oracle", pool=make(label=None), test=good, oracle=self.oracle(tmp_path, "id,label\na\nb,x,y,z\n"))
        refused("data.oracle", pool=make(label=None), test=good, oracle=self.oracle(tmp_path, ""))

    def test_labels_of_another_type(self, make, good, tmp_path):
        pq.write_table(pa.table({"id": ["a", "b", "c"], "label": [1, 2, 3]}), tmp_path / "o.parquet")
        refused("data.label", "oracle", pool=make(label=None), test=good, oracle=str(tmp_path / "o.parquet"))


class TestImages:
    def test_column_of_another_type(self, make, good):
        refused("data.image", "int64", pool=make(image=[1, 2, 3]), test=good, image="image")

    def test_bytes_that_are_no_image(self, make):
        path = make(image=[b"no image"] * 3)
        refused("data.pool", "no image that Pillow can read", pool=path, test=path, image="image")

    def test_path_that_leads_nowhere(self, make, tmp_path):
        Image.new("RGB", (2, 2)).save(tmp_path / "a.png")
        path = make(image=["a.png", "b.png", "a.png"])
        refused("data.image", "row 1", "b.png", pool=path, test=path, image="image")

    def test_empty_cell(self, make, tmp_path):
        stream = io.BytesIO()
        Image.new("RGB", (2, 2)).save(stream, "PNG")
        path = make(image=[stream.getvalue(), None, stream.getvalue()])
        refused("data.image", "no value", pool=path, test=path, image="image")

    def test_image_folder(self, good, tmp_path):
        refused("data.pool", "is a file", pool=f"imagefolder:{good}", test=good)
        (tmp_path / "f" / "x").mkdir(parents=True)
        (tmp_path / "f" / "x" / "a.png").write_bytes(b"")
        refused("data.pool", "a.png", "empty", pool=str(tmp_path / "f"), test=good)
        (tmp_path / "f" / "x" / "a.png").write_bytes(b"<html>")
        refused("data.pool", "a.png", "no image", pool=str(tmp_path / "f"), test=good)
        (tmp_path / "g").mkdir()
        refused("data.pool", "without image files", pool=f"imagefolder:{tmp_path / 'g'}", test=good)

    def test_one_class_or_mixed_kinds(self, good, tmp_path):
        (tmp_path / "f" / "x").mkdir(parents=True)
        Image.new("RGB", (2, 2)).save(tmp_path / "f" / "x" / "a.png")
        folder = str(tmp_path / "f")
        refused("'x'", pool=folder, test=folder)
        refused("data.test", "holds text, not image", pool=folder, test=good)


class TestFeatures:
    def test_not_finite(self, make, good):
        for bad in (float("nan"), float("inf")):
            path = make(f=[[1.0, 2.0], [3.0, bad], [5.0, 6.0]])
            told = ("data.features", "1 rows of", "hold NaN or infinite numbers, the first is row 1")
            refused(*told, pool=path, test=path, features="f")

    @pytest.mark.filterwarnings("error")
    @pytest.mark.parametrize("form", ["table", "npz", "compressed"])
    def test_beyond_what_a_feature_holds(self, make, tmp_path, form):
        features = np.array([[1.0, 2.0], [3.0, 1e300], [-1e39, 6.0]])
        if form == "table":
            path = make(f=features.tolist())
        else:
            path = self.npz(tmp_path, save=np.savez if form == "npz" else np.savez_compressed, f=features)
        told = "2 rows of {} hold numbers beyond float32 (3.4e+38 at most), the first is row 1"
        refused("data.features", told.format(path), pool=path, test=path, features="f")

    @pytest.mark.filterwarnings("error")
    def test_what_never_was_finite_is_told_first(self, tmp_path):
        path = self.npz(tmp_path, features=np.array([[1e300, 1.0], [np.inf, 1.0], [1.0, 1.0]]))
        refused("1 rows of", "hold NaN or infinite numbers, the first is row 1", pool=path, test=path)

    def test_missing_number_in_a_list(self, make):
        path = make(f=[[1.0, 2.0], [3.0, None], [5.0, 6.0]])
        refused("data.features", "row 1", pool=path, test=path, features="f")

    def test_ragged(self, make):
        path = make(f=[[1.0, 2.0], [3.0], [5.0, 6.0]])
        refused("data.features", "2 numbers", "but 1", pool=path, test=path, features="f")

    def test_not_numbers(self, make):
        path = make(f=[["a"], ["b"], ["c"]])
        refused("data.features", "list", pool=path, test=path, features="f")

    def test_empty_lists(self, make):
        path = make(f=pa.array([[], [], []], pa.list_(pa.float32())))
        refused("data.features", "empty", pool=path, test=path, features="f")

    def test_pool_and_test_of_different_width(self, make):
        pool = make(f=[[1.0, 2.0]] * 3)
        refused("data.test", "1 numbers", "have 2", pool=pool, test=make("t.parquet", f=[[1.0]] * 3), features="f")

    def test_images_and_features_at_once(self, good):
        refused("data.image", "data.features", pool=good, test=good, image="a", features="b")

    def npz(self, tmp_path, save=np.savez, **arrays):
        good = {"features": np.ones((3, 2)), "labels": np.array(["x", "y", "x"]), "ids": np.arange(3)}
        save(tmp_path / "f.npz", **{**good, **arrays})
        return str(tmp_path / "f.npz")

    @pytest.mark.parametrize(
        ("arrays", "patterns"),
        [
            ({"features": np.array([[1.0, np.nan], [1, 1], [1, 1]])}, ("data.features", "row 0")),
            ({"features": np.ones(3)}, ("data.features", "(3,)")),
            ({"features": np.ones((3, 0))}, ("data.features", "(3, 0)")),
            ({"features": np.array([["a", "b"]] * 3)}, ("data.features", "<U1")),
            ({"features": np.ones((0, 2)), "labels": np.zeros(0), "ids": np.zeros(0)}, ("data.pool", "no rows")),
            ({"labels": np.array(["x", "y"])}, ("data.label", "(2,)", "3 rows")),
            ({"labels": np.array([0.5, 1.5, 2.5])}, ("data.label", "double")),
            ({"ids": np.array([0.5, 1.5, 2.5])}, ("data.id", "double")),
            ({"features": np.array([[1], [2, 3], [4]], dtype=object)}, ("data.features", "objects")),
            ({"labels": np.array(["x", "y", None], dtype=object)}, ("data.pool", "plain arrays")),
        ],
    )
    def test_arrays(self, tmp_path, arrays, patterns):
        path = self.npz(tmp_path, **arrays)
        refused(*patterns, pool=path, test=path)

    def test_array_of_another_name(self, tmp_path):
        path = self.npz(tmp_path)
        refused("data.features", "Did you mean 'features'?", pool=path, test=path, features="feature")

    def test_no_labels(self, tmp_path):
        np.savez(tmp_path / "f.npz", features=np.ones((3, 2)))
        refused("data.label", pool=str(tmp_path / "f.npz"), test=str(tmp_path / "f.npz"))

    def test_truncated_file(self, tmp_path):
        path = self.npz(tmp_path)
        content = (tmp_path / "f.npz").read_bytes()
        (tmp_path / "f.npz").write_bytes(content[: len(content) // 2])
        refused("data.pool", "no whole .npz", pool=path, test=path)
