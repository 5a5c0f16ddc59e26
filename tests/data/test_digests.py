"""Fingerprints are equal for equal content, differ for any other, and are found out once."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asvp.config import DataConfig
from asvp.data import digests, open_dataset
from asvp.errors import DataError

TEXTS = ["one", "two", "three", "four"] * 3
ROWS = {"text": TEXTS, "body": TEXTS[::-1], "label": ["x", "y"] * 6}


@pytest.fixture
def path(tmp_path):
    pq.write_table(pa.table(ROWS), tmp_path / "p.parquet")
    os.utime(tmp_path / "p.parquet", (1_000, 1_000))
    return tmp_path / "p.parquet"


def digest(path, memory=None, **config) -> str:
    return open_dataset(DataConfig(pool=str(path), test=str(path), **config), memory).pool.digest()


def test_a_copy_has_the_same_digest_whatever_its_name_and_time(path, tmp_path):
    copy = tmp_path / "copy.parquet"
    copy.write_bytes(path.read_bytes())
    assert digest(copy) == digest(path)


def test_column_rows_and_content_are_part_of_the_digest(path, tmp_path):
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({**ROWS, "text": ["tree", *TEXTS[1:]]}), other)
    found = [digest(path), digest(path, text="body"), digest(path, limit=6), digest(other)]
    found.append(digest(path, limit=6, shuffle_seed=1))
    assert len(set(found)) == 5
    assert digest(path, limit=12) == digest(path)


def test_the_order_of_files_is_part_of_the_digest(tmp_path, path):
    other = {**ROWS, "label": ["y"] * 6 + ["x"] * 6}
    for folder, tables in (("ab", (ROWS, other)), ("ba", (other, ROWS))):
        (tmp_path / folder).mkdir()
        for name, columns in zip(("1.parquet", "2.parquet"), tables, strict=True):
            pq.write_table(pa.table(columns), tmp_path / folder / name)
    assert digest(tmp_path / "ab") != digest(tmp_path / "ba")


def test_an_unchanged_file_is_not_read_again(path, tmp_path, monkeypatch):
    first = digest(path, tmp_path / "memory")
    monkeypatch.setattr(digests, "_of_bytes", lambda *_: pytest.fail("the file was read"))
    assert digest(path, tmp_path / "memory") == first


def test_a_changed_file_of_the_same_size_is_read_again(path, tmp_path):
    first = digest(path, tmp_path / "memory")
    content = bytearray(path.read_bytes())
    content[content.index(b"three")] = ord("f")
    path.write_bytes(content)
    assert digest(path, tmp_path / "memory") != first


def test_a_file_written_just_now_is_not_remembered(path, tmp_path):
    os.utime(path)
    digest(path, tmp_path / "memory")
    assert list((tmp_path / "memory").rglob("*")) == []


@pytest.mark.parametrize("damage", [b"", b"wrong", b"\xff\xfe", b"0" * 32 + b" " + b"1" * 32])
def test_a_damaged_memory_is_found_out_again(path, tmp_path, damage):
    first = digest(path, tmp_path / "memory")
    for entry in (tmp_path / "memory").rglob("*"):
        if entry.is_file():
            entry.write_bytes(damage)
    assert digest(path, tmp_path / "memory") == first


def test_without_a_writable_memory_all_works_but_slower(path, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert digest(path, tmp_path / "file" / "memory") == digest(path)


def test_many_writers_share_a_memory(path, tmp_path):
    with ThreadPoolExecutor(8) as writers:
        found = list(writers.map(lambda _: digest(path, tmp_path / "memory"), range(24)))
    assert len(set(found)) == 1
    assert len([entry for entry in (tmp_path / "memory").rglob("*") if entry.is_file()]) == 1


def test_a_file_that_changes_under_the_hand_is_refused(path, tmp_path):
    data = open_dataset(DataConfig(pool=str(path), test=str(path)))
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(DataError, match="changed while it was being read"):
        data.pool.digest()
