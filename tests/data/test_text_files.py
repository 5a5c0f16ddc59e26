"""CSV, TSV and JSON Lines give the same rows as Parquet, and what is wrong with them is named by its line."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import pickle
from contextlib import suppress

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.errors import DataError

TEXTS = ["plain", 'quo"ted', "two\nlines", "comma, and\ttab", "", "äöü 漢字", " spaces ", "007"]
LABELS = ["b", "a"] * 4
IDS = ["01", "1", "x", "y", "z", "u", "v", "w"]


def as_csv(rows: list[tuple], separator: str = ",") -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=separator)
    writer.writerow(["id", "text", "label"])
    writer.writerows(rows)
    return stream.getvalue().encode()


def as_json_lines(rows: list[tuple]) -> bytes:
    return b"".join(json.dumps(dict(zip(("id", "text", "label"), row, strict=True))).encode() + b"\n" for row in rows)


ROWS = list(zip(IDS, TEXTS, LABELS, strict=True))


def opened(path, **config):
    return open_dataset(DataConfig(pool=str(path), test=str(path), **config))


def refused(path, *patterns, **config):
    with pytest.raises(DataError) as caught:
        opened(path, **config)
    text = str(caught.value)
    for pattern in patterns:
        assert pattern in text, text
    assert "\n" not in text
    return caught.value


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.csv", as_csv(ROWS)),
        ("a.CSV", b"\xef\xbb\xbf" + as_csv(ROWS)),
        ("a.tsv", as_csv(ROWS, "\t")),
        ("a.csv.gz", gzip.compress(as_csv(ROWS))),
        ("a.csv.bz2", bz2.compress(as_csv(ROWS))),
        ("a.jsonl", as_json_lines(ROWS)),
        ("a.ndjson", b"\xef\xbb\xbf" + as_json_lines(ROWS).replace(b"\n", b"\n\n")),
        ("a.json", as_json_lines(ROWS)[:-1]),
        ("a.jsonl.gz", gzip.compress(as_json_lines(ROWS))),
    ],
)
def test_every_form_gives_the_rows_as_written(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    data = opened(tmp_path / name)
    pool = pickle.loads(pickle.dumps(data.pool))
    assert pool.take(np.arange(8)) == TEXTS
    assert pool.take(np.array([7, 2, 2])) == [TEXTS[7], TEXTS[2], TEXTS[2]]
    assert pool.ids().to_pylist() == IDS
    assert [data.classes[number] for number in data.oracle.buy(np.arange(8))] == LABELS


def test_a_folder_of_csv_files_is_one_pool_in_the_order_of_paths(tmp_path):
    for part in (1, 0):
        (tmp_path / f"part{part}.csv").write_bytes(as_csv(ROWS[4 * part : 4 * part + 4]))
    assert opened(tmp_path).pool.take(np.arange(8)) == TEXTS


def test_numbers_of_a_csv_file_are_numbers_where_all_of_them_look_so(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\na,10\nb,9\n")
    (tmp_path / "b.csv").write_text("text,label\na,9\nb,x\n")
    assert opened(tmp_path / "a.csv").classes == ("9", "10")
    mixed = open_dataset(DataConfig(pool=str(tmp_path / "a.csv"), test=str(tmp_path / "b.csv")))
    assert mixed.classes == ("10", "9", "x")
    pq.write_table(pa.table({"text": ["t"], "label": [10]}), tmp_path / "t.parquet")
    typed = open_dataset(DataConfig(pool=str(tmp_path / "a.csv"), test=str(tmp_path / "t.parquet")))
    assert typed.classes == ("9", "10")


def test_json_lines_keep_types_gaps_and_lists(tmp_path):
    rows = [{"f": [1, 2.5], "label": True}, {"f": [3, 4], "label": False}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = opened(tmp_path / "a.jsonl", features="f")
    assert data.pool.take(np.arange(2)).tolist() == [[1, 2.5], [3, 4]]
    assert data.classes == ("false", "true")
    (tmp_path / "b.jsonl").write_text('{"text": "a", "label": 1}\n{"label": 2}\n')
    refused(tmp_path / "b.jsonl", "data.text", "1 rows of", "no value")
    (tmp_path / "c.jsonl").write_text('{"text": "2020-01-01", "label": 1}\n{"text": "2021-01-01", "label": 2}\n')
    assert opened(tmp_path / "c.jsonl").pool.take(np.arange(2)) == ["2020-01-01", "2021-01-01"]


def test_rows_and_fields_larger_than_a_block_are_read(tmp_path):
    texts = ["x" * (9 << 20), "y" * 70_000, "z"]
    for name, content in (
        ("a.csv", as_csv([(row, text, row % 2) for row, text in enumerate(texts)])),
        ("a.jsonl", as_json_lines([(row, text, row % 2) for row, text in enumerate(texts)])),
    ):
        (tmp_path / name).write_bytes(content)
        assert opened(tmp_path / name).pool.take(np.array([2, 0, 1])) == [texts[2], texts[0], texts[1]]


@pytest.mark.parametrize(
    ("name", "content", "patterns"),
    [
        ("a.csv", b'text,label\n"a\nb",x\nc,y,z\n', ("a.csv", "line 4", "3 columns", "header has 2")),
        ("a.csv", b"text,label\na,x\nb\n", ("line 3", "1 columns")),
        ("a.csv", "text,label\na,x\nb,y\nné,x\n".encode("latin-1"), ("a.csv", "line 4", "\\xe9", "UTF-8")),
        ("a.csv", "text,label\na,x\n".encode("utf-16"), ("UTF-16",)),
        ("a.csv", b"", ("a.csv", "empty")),
        ("a.csv", b"text,label\n", ("no rows",)),
        ("a.csv", b'text,label\na,x\n"b,y\nc,x\nd,y\n', ("line 3: a quotation mark is never closed", "1 columns")),
        ("a.csv", b'text,label\n"a\n",x\n"b,y\nc,x\n', ("line 4: a quotation mark is never closed",)),
        ("a.csv", b'text,label\na,x\nb,"y\nc,x\nd,y\n', ("line 3: a quotation mark is never closed",)),
        ("a.csv", b'text,label,id\na,x,1\n"b,y,2\nc,x,3\n"d",y,4\n', ("line 3: a quotation mark is never closed",)),
        ("a.csv", b'text,label\na,x\n"b,y\n' + b"c,x\n" * 50_000, ("line 3: a quotation mark is never closed",)),
        ("a.csv", b'text,label\na,x\nb,"y\n' + b"c,x\n" * 50_000, ("line 3: a quotation mark is never closed",)),
        ("a.csv", b"text;label\na;x\nb;y\n", ("'label'). Is another separator used?", "Columns there: text;label")),
        ("a.csv", b"texts;label,x\na;x,y\n", ("Did you mean 'texts;label'?",)),
        (
            "a.csv",
            b"text,label,label\na,x,y\n",
            ("is the name of 2 columns of", "'label'). Rename all but one of them. Columns there: text, label, label"),
        ),
        ("a.csv", b"te\0xt,label\na,x\n", ("zero bytes",)),
        ("a.csv.gz", b"text,label\na,x\n", ("a.csv.gz", "cannot be read")),
        ("a.csv.gz", gzip.compress(as_csv(ROWS))[:-12], ("a.csv.gz", "cannot be read")),
        ("a.jsonl", b'{"text": "a", "label": "x"}\n\n{"text": \n', ("a.jsonl", "line 3")),
        (
            "a.jsonl",
            b'{"text": "a", "label": "x"}\n{"text": 5, "label": "x"}\n',
            ("line 2", "text", "string to number"),
        ),
        ("a.json", b'[{"text": "a"}, {"text": "b"}]', ("JSON array", "one object a line")),
        ("a.jsonl", b"\n\n", ("empty",)),
        ("a.jsonl", b'{"text": "n\xe9", "label": 1}\n{"text": "b", "label": 2}\n', ("a.jsonl", "UTF-8", "row 0")),
        ("a.xlsx", b"PK\x03\x04" + b"x" * 99, ("Excel", "CSV")),
        ("a.pkl", b"\x80\x04" + b"x" * 99, ("pickle", "never loaded")),
        ("a.parquet", b"version https://git-lfs.github.com/spec/v1\n", ("Git LFS",)),
        ("a.parquet", b"<!doctype html><html></html>", ("web page",)),
    ],
)
def test_what_is_wrong_is_named_with_file_and_line(tmp_path, name, content, patterns):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError) as caught:
        opened(tmp_path / name).pool.take(np.arange(1))
    text = str(caught.value)
    for pattern in patterns:
        assert pattern in text, text
    assert "\n" not in text


@pytest.mark.parametrize(
    ("content", "patterns"),
    [
        ("id,label\na,né\nb,y\n".encode("latin-1"), ("data.oracle", "line 2", "UTF-8")),
        (b"id,label\na,x\nb\n", ("data.oracle", "line 3")),
        (b"", ("data.oracle", "empty")),
        (b"PK\x03\x04" + b"x" * 99, ("data.oracle",)),
    ],
)
def test_an_oracle_file_that_is_no_table_is_not_called_unreachable(tmp_path, content, patterns):
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["s", "t"]}), tmp_path / "pool.parquet")
    pq.write_table(pa.table({"text": ["s", "t"], "label": ["x", "y"]}), tmp_path / "test.parquet")
    (tmp_path / "labels.csv").write_bytes(content)
    with pytest.raises(DataError) as caught:
        open_dataset(
            DataConfig(
                pool=str(tmp_path / "pool.parquet"),
                test=str(tmp_path / "test.parquet"),
                oracle=str(tmp_path / "labels.csv"),
            )
        )
    for pattern in patterns:
        assert pattern in str(caught.value), str(caught.value)
    assert "network" not in str(caught.value)


def test_an_oracle_of_json_lines_gives_labels(tmp_path):
    pq.write_table(pa.table({"id": ["a", "b"], "text": ["s", "t"]}), tmp_path / "pool.parquet")
    pq.write_table(pa.table({"text": ["s", "t"], "label": ["x", "y"]}), tmp_path / "test.parquet")
    (tmp_path / "labels.jsonl").write_text('{"id": "b", "label": "x"}\n{"id": "a", "label": "y"}\n')
    paths = {"pool": tmp_path / "pool.parquet", "test": tmp_path / "test.parquet", "oracle": tmp_path / "labels.jsonl"}
    data = open_dataset(DataConfig(**{key: str(path) for key, path in paths.items()}))
    assert data.oracle.buy(np.arange(2)).tolist() == [1, 0]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\r"), max_size=12)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(st.tuples(TEXT, st.sampled_from(["p", "q"])), min_size=2, max_size=12), format=st.sampled_from("cj")
)
def test_any_text_comes_back_as_it_was_written(rows, format, tmp_path_factory):
    rows = [(f"i{row}", text, label) for row, (text, label) in enumerate([("first", "p"), ("second", "q"), *rows])]
    path = tmp_path_factory.mktemp("text") / ("a.csv" if format == "c" else "a.jsonl")
    path.write_bytes(as_csv(rows) if format == "c" else as_json_lines(rows))
    data = opened(path)
    assert data.pool.take(np.arange(len(rows))) == [text for _, text, _ in rows]


@settings(deadline=None, max_examples=100)
@given(
    content=st.binary(max_size=60),
    name=st.sampled_from(["a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.parquet", "a.arrow"]),
)
def test_any_bytes_are_rows_or_a_data_error(content, name, tmp_path_factory):
    path = tmp_path_factory.mktemp("bytes") / name
    path.write_bytes(content)
    with suppress(DataError):
        data = opened(path)
        data.pool.take(np.arange(len(data.pool)))
