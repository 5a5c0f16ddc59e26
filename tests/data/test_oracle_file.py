"""Labels from a file of their own reach the right rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asvp.config import DataConfig
from asvp.data import open_dataset


def opened(tmp_path, *, own, oracle, test, ids=("a", "b", "c", "d")):
    pool = {"id": list(ids), "text": ["one", "two", "three", "four"]}
    pq.write_table(pa.table(pool if own is None else {**pool, "label": own}), tmp_path / "pool.parquet")
    pq.write_table(pa.table({"text": ["five"] * len(test), "label": test}), tmp_path / "test.parquet")
    if isinstance(oracle, str):
        path = tmp_path / "oracle.csv"
        path.write_text(oracle)
    else:
        path = tmp_path / "oracle.parquet"
        pq.write_table(pa.table(oracle), path)
    paths = {"pool": str(tmp_path / "pool.parquet"), "test": str(tmp_path / "test.parquet"), "oracle": str(path)}
    data = open_dataset(DataConfig(**paths))
    return [data.classes[number] for number in data.oracle.buy(np.arange(4))], data.classes


def test_rows_are_found_by_id_whatever_their_order(tmp_path):
    table = {"id": ["x", "d", "b", "a", "c"], "label": ["unused", "D", "B", "A", "C"]}
    assert opened(tmp_path, own=None, oracle=table, test=["A"]) == (["A", "B", "C", "D"], ("A", "B", "C", "D"))


def test_a_label_in_the_pool_stays_and_only_gaps_are_filled(tmp_path):
    text = "id,label\na,from file\nb,B\n"
    labels, _ = opened(tmp_path, own=["A", None, "C", "D"], oracle=text, test=["A"])
    assert labels == ["A", "B", "C", "D"]


@pytest.mark.parametrize("ids", [("1", "01", "2", "3"), (1, 10, 2, 3)])
def test_ids_of_a_text_file_are_compared_as_written(tmp_path, ids):
    text = "label,id\n" + "".join(f"L{number},{name}\n" for number, name in enumerate(ids))
    assert opened(tmp_path, own=None, oracle=text, test=["L0"], ids=ids)[0] == ["L0", "L1", "L2", "L3"]


@pytest.mark.parametrize(
    ("test", "written", "classes"),
    [
        ([1, 2], ("10", "2", "1", "2"), ("1", "2", "10")),
        (["1", "2"], ("10", "2", "1", "2"), ("1", "10", "2")),
        ([True, False], ("True", "false", "true", "False"), ("false", "true")),
    ],
)
def test_labels_of_a_text_file_take_the_type_of_the_test_rows(tmp_path, test, written, classes):
    text = "id,label\n" + "".join(f"{name},{label}\n" for name, label in zip("abcd", written, strict=True))
    labels, found = opened(tmp_path, own=None, oracle=text, test=test)
    assert found == classes
    assert labels == [label.lower() for label in written]


def test_a_share_can_be_held_out_of_a_pool_labelled_by_a_file(tmp_path):
    pq.write_table(pa.table({"id": range(20), "text": [f"t{n}" for n in range(20)]}), tmp_path / "pool.parquet")
    (tmp_path / "oracle.tsv").write_text("id\tlabel\n" + "".join(f"{n}\t{n % 2 * 9}\n" for n in range(20)))
    config = DataConfig(pool=str(tmp_path / "pool.parquet"), test=None, oracle=str(tmp_path / "oracle.tsv"))
    data = open_dataset(config)
    assert data.classes == ("0", "9")
    ids = data.pool.ids().to_pylist()
    assert data.oracle.buy(np.arange(16)).tolist() == [int(name) % 2 for name in ids]
