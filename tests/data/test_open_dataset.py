"""What opening a dataset promises: rows, classes, limits, shares and the oracle."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import asvp
from asvp.config import DataConfig
from asvp.data import Source, open_dataset
from asvp.errors import DataError

WORDS = ["red", "green", "blue", "cyan", "pink", "grey"]


def write(path: Path, columns: dict, **options) -> str:
    pq.write_table(pa.table(columns), path, **options)
    return str(path)


def rows(count: int, classes=("b", "a", "c")) -> dict:
    return {
        "id": [f"n{number}" for number in range(count)],
        "text": [f"{WORDS[number % 6]} {number}" for number in range(count)],
        "label": [classes[number % len(classes)] for number in range(count)],
    }


@pytest.fixture
def pool(tmp_path):
    return write(tmp_path / "pool.parquet", rows(30), row_group_size=7)


@pytest.fixture
def test(tmp_path):
    return write(tmp_path / "test.parquet", rows(9))


def test_builtin_set_has_the_documented_sizes_and_classes():
    data = open_dataset(DataConfig())
    assert (len(data.pool), len(data.test), len(data.classes)) == (32_000, 6_509, 33)
    assert list(data.classes) == sorted(data.classes)
    assert data.oracle.counts().sum() == 32_000
    whole = data.oracle.counts() + np.bincount(data.test_labels)
    assert whole[data.classes.index("python")] == 4_482
    assert whole[data.classes.index("hamradio")] == whole.min() == 135


def test_pool_and_test_are_sources(pool, test):
    data = open_dataset(DataConfig(pool=pool, test=test))
    assert isinstance(data.pool, Source)
    assert isinstance(data.test, Source)
    assert data.kind == "text"


def test_take_gives_rows_in_the_order_asked_for(pool, test):
    data = open_dataset(DataConfig(pool=pool, test=test))
    wanted = np.array([29, 0, 13, 0, 14])
    expected = rows(30)
    assert data.pool.take(wanted) == [expected["text"][row] for row in wanted]
    assert data.pool.take(np.array([], dtype=np.int64)) == []
    assert data.pool.ids().to_pylist() == expected["id"]
    with pytest.raises(IndexError, match=r"0\.\.29"):
        data.pool.take(np.array([30]))
    with pytest.raises(IndexError, match="-1"):
        data.pool.take(np.array([-1]))


@pytest.mark.parametrize("block_bytes", [1, 40, 1 << 26])
def test_take_is_the_same_however_row_groups_are_cut(tmp_path, test, monkeypatch, block_bytes):
    monkeypatch.setattr("asvp.data.tables._BLOCK_BYTES", block_bytes)
    expected = rows(50)
    generator = np.random.default_rng(3)
    for size in (1, 7, 50):
        path = write(tmp_path / f"{size}.parquet", expected, row_group_size=size)
        data = open_dataset(DataConfig(pool=path, test=test))
        for wanted in (np.arange(50), np.arange(50)[::-1], generator.integers(0, 50, 80)):
            assert data.pool.take(wanted) == [expected["text"][row] for row in wanted]


def test_a_pass_in_row_order_decodes_each_row_group_once(pool, test, monkeypatch):
    data = open_dataset(DataConfig(pool=pool, test=test))
    opened = []
    from asvp.data import tables

    original = tables._READERS["parquet"]

    def counting(storage, file, group, column):
        opened.append((group, column))
        return original(storage, file, group, column)

    monkeypatch.setitem(tables._READERS, "parquet", counting)
    for first in range(0, 30, 3):
        data.pool.take(np.arange(first, first + 3))
    assert opened == [(group, "text") for group in range(5)]


def test_a_pickled_pool_is_small_and_reads_in_another_process(pool, test):
    data = open_dataset(DataConfig(pool=pool, test=test, limit=12))
    packed = pickle.dumps(data.pool)
    assert len(packed) < 5_000
    code = (
        "import pickle, sys, numpy as np; source = pickle.load(sys.stdin.buffer);"
        "print('|'.join(source.take(np.arange(12)[::-1])), source.digest())"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(asvp.__file__).parents[1])}
    command = [sys.executable, "-c", code]
    there = subprocess.run(command, input=packed, capture_output=True, check=True, cwd="/", env=environment)
    here = "|".join(data.pool.take(np.arange(12)[::-1]))
    assert there.stdout.decode().strip() == f"{here} {data.pool.digest()}"


def test_the_pool_handed_out_has_no_labels(pool, test):
    data = open_dataset(DataConfig(pool=pool, test=test))
    assert data.pool.labels() is None
    assert data.test.labels().to_pylist() == rows(9)["label"]


def test_limit_is_a_sorted_prefix_of_a_seeded_shuffle_and_nested(pool, test):
    def ids(limit, seed=0):
        return open_dataset(DataConfig(pool=pool, test=test, limit=limit, shuffle_seed=seed)).pool.ids().to_pylist()

    expected = np.sort(np.random.default_rng(5).permutation(30)[:8])
    assert ids(8, seed=5) == [f"n{row}" for row in expected]
    assert set(ids(8)) < set(ids(20))
    assert ids(8) != ids(8, seed=1)
    assert ids(30) == ids(1_000) == ids(None)


def test_limited_rows_labels_and_ids_belong_together(pool, test):
    data = open_dataset(DataConfig(pool=pool, test=test, limit=11, test_limit=4))
    everything = rows(30)
    label_of = dict(zip(everything["id"], everything["label"], strict=True))
    text_of = dict(zip(everything["id"], everything["text"], strict=True))
    for source, numbers in ((data.pool, data.oracle.buy(np.arange(11))), (data.test, data.test_labels)):
        ids = source.ids().to_pylist()
        assert source.take(np.arange(len(source))) == [text_of[name] for name in ids]
        assert [data.classes[number] for number in numbers] == [label_of[name] for name in ids]
    assert len(data.test) == 4


def test_classes_do_not_depend_on_limits(pool, test):
    assert open_dataset(DataConfig(pool=pool, test=test, limit=5, test_limit=1)).classes == ("a", "b", "c")


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, -1], ("-1", "9", "10")),
        (["10", "9", "b"], ("10", "9", "b")),
        ([True, False, True], ("false", "true")),
        (pa.array(["z", "ä", "Z"]).dictionary_encode(), ("Z", "z", "ä")),
        (pa.array([3, 1, 2], pa.uint8()), ("1", "2", "3")),
        (pa.array(["x", "y", "x"], pa.large_string()), ("x", "y")),
    ],
)
def test_classes_are_in_natural_order_for_every_label_type(tmp_path, labels, classes):
    path = write(tmp_path / "pool.parquet", {"text": list("abc"), "label": labels})
    data = open_dataset(DataConfig(pool=path, test=path))
    assert data.classes == classes
    plain = labels.to_pylist() if isinstance(labels, pa.Array) else labels
    bought = [data.classes[number] for number in data.oracle.buy(np.arange(3))]
    assert bought == [str(label).lower() if isinstance(label, bool) else str(label) for label in plain]


def test_classes_come_from_pool_and_test_together(tmp_path, pool):
    test = write(tmp_path / "t.parquet", {"text": ["x"], "label": ["aa"]})
    data = open_dataset(DataConfig(pool=pool, test=test))
    assert data.classes == ("a", "aa", "b", "c")
    assert data.test_labels.tolist() == [1]


def test_without_an_id_column_rows_are_named_by_their_number_in_the_file(tmp_path, test):
    columns = rows(30)
    del columns["id"]
    path = write(tmp_path / "p.parquet", columns)
    data = open_dataset(DataConfig(pool=path, test=test, limit=4))
    expected = np.sort(np.random.default_rng(0).permutation(30)[:4])
    assert data.pool.ids().to_pylist() == [str(row) for row in expected]
    assert open_dataset(DataConfig(pool=test, test=test, id=None)).pool.ids()[3].as_py() == "3"


def test_a_share_of_the_pool_is_held_out_by_class(tmp_path):
    labels = ["big"] * 60 + ["mid"] * 30 + ["two"] * 2 + ["one"]
    texts = [f"t{row}" for row in range(len(labels))]
    path = write(tmp_path / "p.parquet", {"text": texts, "label": labels})
    data = open_dataset(DataConfig(pool=path, test=None, test_share=0.3))
    kept, held = data.pool.take(np.arange(len(data.pool))), data.test.take(np.arange(len(data.test)))
    assert sorted(kept + held) == sorted(texts)
    assert len(held) == round(0.3 * 93)
    counts = dict(zip(data.classes, np.bincount(data.test_labels, minlength=4), strict=True))
    assert counts == {"big": 18, "mid": 9, "two": 1, "one": 0}
    pool_counts = dict(zip(data.classes, data.oracle.counts(), strict=True))
    assert pool_counts == {"big": 42, "mid": 21, "two": 1, "one": 1}
    again = open_dataset(DataConfig(pool=path, test=None, test_share=0.3))
    other = open_dataset(DataConfig(pool=path, test=None, test_share=0.3, shuffle_seed=1))
    assert again.test.ids() == data.test.ids()
    assert other.test.ids() != data.test.ids()
    limited = open_dataset(DataConfig(pool=path, test=None, test_share=0.3, limit=10))
    assert limited.test.ids() == data.test.ids()
    assert set(limited.pool.ids().to_pylist()) < set(data.pool.ids().to_pylist())


def test_a_large_share_leaves_every_class_a_row(tmp_path):
    path = write(tmp_path / "p.parquet", rows(9))
    data = open_dataset(DataConfig(pool=path, test=None, test_share=0.95))
    assert data.oracle.counts().tolist() == [1, 1, 1]


def test_the_oracle_knows_what_was_bought(pool, test):
    oracle = open_dataset(DataConfig(pool=pool, test=test)).oracle
    assert oracle.bought.tolist() == []
    assert oracle.buy(np.array([4, 1, 4])).dtype == np.int64
    oracle.buy(np.array([2, 1]))
    assert oracle.bought.tolist() == [4, 1, 2]
    assert oracle.labels(np.array([1])).tolist() == [0]
    with pytest.raises(DataError, match="not bought"):
        oracle.labels(np.array([0]))
    with pytest.raises(IndexError):
        oracle.buy(np.array([30]))


def test_arrow_files_streams_and_folders_give_the_same_rows(tmp_path, test):
    expected = rows(20)
    table = pa.table(expected)
    with pa.ipc.new_file(tmp_path / "one.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=6)
    with pa.ipc.new_stream(tmp_path / "stream.arrow", table.schema) as writer:
        writer.write_table(table, max_chunksize=6)
    folder = tmp_path / "folder"
    (folder / "inner").mkdir(parents=True)
    write(folder / "a.parquet", {name: values[:7] for name, values in expected.items()})
    with pa.ipc.new_file(folder / "b.arrow", table.schema) as writer:
        writer.write_table(table.slice(7, 5))
    write(folder / "inner" / "c.parquet", {name: values[12:] for name, values in expected.items()})
    (folder / "_SUCCESS").write_text("")
    (folder / ".hidden.parquet").write_text("no table")
    (folder / "notes.txt").write_text("no table")
    for name in ("one.arrow", "stream.arrow", "folder", "folder/"):
        data = open_dataset(DataConfig(pool=str(tmp_path / name), test=test))
        assert data.pool.take(np.arange(20)[::-1]) == expected["text"][::-1]
        assert data.pool.ids().to_pylist() == expected["id"]
        assert data.oracle.buy(np.arange(3)).tolist() == [1, 0, 2]


def test_uris_relative_paths_and_the_home_folder_are_understood(tmp_path, pool, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for value in (f"file://{pool}", "pool.parquet", "~/pool.parquet"):
        data = open_dataset(DataConfig(pool=value, test=value))
        assert data.pool.take(np.array([7])) == ["green 7"]


def test_other_schemes_go_through_fsspec():
    import fsspec

    memory = fsspec.filesystem("memory")
    table = pa.table(rows(12))
    for number in range(2):
        with memory.open(f"/bucket/part-{number}.parquet", "wb") as stream:
            pq.write_table(table.slice(6 * number, 6), stream)
    data = open_dataset(DataConfig(pool="memory://bucket", test="memory://bucket/part-0.parquet"))
    assert data.pool.take(np.arange(12)) == rows(12)["text"]
    assert data.test.take(np.arange(6)) == rows(6)["text"]
    assert len(data.pool.digest()) == 32
