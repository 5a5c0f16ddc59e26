"""Warnings of what will hurt, with right counts."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from asvp.config import DataConfig
from asvp.data import examine, open_dataset
from asvp.data.examine import _SAMPLE_BLOCKS


def findings(tmp_path, pool, test, content=True, sample=False, **config):
    for name, (contents, labels) in (("pool", pool), ("test", test)):
        kind = next(iter(config), "text")
        ids = [f"{name}{row}" for row in range(len(labels))]
        pq.write_table(pa.table({"id": ids, kind: contents, "label": labels}), tmp_path / f"{name}.parquet")
    config = {name: name for name in config}
    paths = {"pool": str(tmp_path / "pool.parquet"), "test": str(tmp_path / "test.parquet")}
    found = examine(open_dataset(DataConfig(**paths, **config)), content=content, sample=sample)
    assert all(finding.message and finding.mend for finding in found)
    return {finding.name: finding for finding in found}


def test_clean_rows_give_no_finding(tmp_path):
    assert findings(tmp_path, (["a", "b", "c", "d"], list("xyxy")), (["e"], ["x"])) == {}


def test_duplicates_and_overlap_are_counted(tmp_path):
    pool = (["a", "b", "a", "a", "b", "c"], list("xyxyxy"))
    found = findings(tmp_path, pool, (["a", "z", "c", "a"], list("xyxy")))
    assert set(found) == {"duplicates", "test_in_pool"}
    assert found["duplicates"].count == 3
    assert "3 of 6" in found["duplicates"].message
    assert "'pool2' that of 'pool0'" in found["duplicates"].message
    assert found["test_in_pool"].count == 3
    assert "3 of 4" in found["test_in_pool"].message
    assert "'test0'" in found["test_in_pool"].message
    assert findings(tmp_path, pool, (["a"], ["x"]), content=False) == {}


def test_duplicates_are_found_across_blocks(tmp_path):
    texts = [f"t{row}" for row in range(9_000)]
    texts[8_999] = texts[3]
    found = findings(tmp_path, (texts, ["x", "y"] * 4_500), (["e"], ["x"]))
    assert found["duplicates"].count == 1
    assert "'pool8999' that of 'pool3'" in found["duplicates"].message


def test_a_sample_reads_blocks_that_are_spread_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(_SAMPLE_BLOCKS, "text", 2)
    texts = [f"t{row}" for row in range(9_000)]
    texts[1] = texts[8_500] = texts[0]
    # Between the blocks.
    texts[5_000] = texts[0]
    texts[5_001] = texts[8_501] = " "
    pool, test = (texts, ["x", "y"] * 4_500), (["t3", "t6000"], ["x", "y"])
    found = findings(tmp_path, pool, test, sample=True)
    assert found["duplicates"].message.startswith("2 of 4904 pool rows that were looked at repeat")
    assert "'pool1' that of 'pool0'" in found["duplicates"].message
    assert found["test_in_pool"].message.startswith(
        "1 of 2 test rows are also in the pool, such as 'test0', as far as 4904"
    )
    assert found["empty_texts"].message.startswith("1 pool rows of the 4904 that were looked at hold no text")
    assert "'pool8501'" in found["empty_texts"].message
    assert {name: one.count for name, one in findings(tmp_path, pool, test).items()} == {
        "duplicates": 4, "test_in_pool": 2, "empty_texts": 2,
    }  # fmt: skip


def test_small_and_missing_classes_and_imbalance(tmp_path):
    labels = ["big"] * 20 + ["two"] * 2 + ["one"]
    found = findings(tmp_path, ([f"t{n}" for n in range(23)], labels), (["p", "q", "r"], ["gone", "gone", "big"]))
    assert set(found) == {"small_classes", "classes_missing_from_pool", "imbalance"}
    assert found["small_classes"].count == 1
    assert "'one'" in found["small_classes"].message
    assert found["classes_missing_from_pool"].count == 1
    assert "'gone') have 2 test rows" in found["classes_missing_from_pool"].message
    assert "20 rows, 20 times" in found["imbalance"].message


def test_empty_texts(tmp_path):
    found = findings(tmp_path, (["a", " \n", "b", ""], list("xyxy")), (["c"], ["x"]))
    assert set(found) == {"empty_texts"}
    assert found["empty_texts"].count == 2
    assert "2 pool rows" in found["empty_texts"].message


@pytest.mark.parametrize("kind", ["image", "features"])
def test_images_and_features_are_looked_at_too(tmp_path, kind):
    if kind == "features":
        rows = [np.array(row, dtype=np.float32) for row in ([1, 2], [3, 4], [1, 2], [5, 6])]
    else:
        rows = []
        for number in range(4):
            stream = io.BytesIO()
            Image.new("RGB", (2, 2), (number % 3, 0, 0)).save(stream, "PNG")
            rows.append(stream.getvalue())
        rows = [rows[0], rows[1], rows[0], rows[2]]
    found = findings(tmp_path, (rows, list("xyxy")), (rows[3:], ["x"]), **{kind: kind})
    assert set(found) == {"duplicates", "test_in_pool"}
    assert found["duplicates"].count == found["test_in_pool"].count == 1


def test_unreadable_images_are_counted(tmp_path):
    stream = io.BytesIO()
    Image.new("RGB", (2, 2)).save(stream, "PNG")
    good = stream.getvalue()
    found = findings(tmp_path, ([good, b"bad", good[:20]], list("xyx")), ([good], ["x"]), image="image")
    assert found["unreadable_images"].count == 2
    assert "'pool1'" in found["unreadable_images"].message
