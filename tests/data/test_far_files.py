"""Files in a store are opened once, and many reads of them are on their way at a time."""

from __future__ import annotations

import pickle
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_encoders import tiny_image_encoder, tiny_images

from asvp.compute.jobs import ShardJob
from asvp.compute.session import EncoderSession
from asvp.config import DataConfig, EncoderConfig
from asvp.data import images, open_dataset, tables
from asvp.data.images import ImageFolder
from asvp.data.source import View
from asvp.data.storage import Storage
from asvp.data.table_source import TableSource
from asvp.errors import DataError
from asvp.features.table import features_of


def in_memory(name: str, content: bytes) -> None:
    fsspec.filesystem("memory").pipe(name, content)


def table(rows: int, group: int) -> bytes:
    sink = pa.BufferOutputStream()
    texts = [f"row {row}" for row in range(rows)]
    pq.write_table(pa.table({"text": texts, "label": ["a", "b"] * (rows // 2)}), sink, row_group_size=group)
    return bytes(sink.getvalue())


def test_a_parquet_file_of_a_store_is_opened_once_for_all_its_row_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    for part in range(3):
        in_memory(f"/far-files/{part}.parquet", table(60, 10))
    source = open_dataset(DataConfig(pool="memory://far-files", text="text", label="label")).pool
    source = pickle.loads(pickle.dumps(source))
    opened: Counter[str] = Counter()
    really = Storage.open
    monkeypatch.setattr(Storage, "open", lambda self, path: (opened.update([path]), really(self, path))[1])
    rows = np.arange(len(source))
    texts = source.take(rows)
    assert opened == {f"{part}.parquet": 1 for part in range(3)}
    for start in range(0, len(source), 7):
        assert source.take(rows[start : start + 7]) == texts[start : start + 7]
    assert set(opened.values()) == {1}


def test_a_file_that_could_not_be_read_is_opened_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory("/far-again/pool.parquet", table(40, 10))
    source = open_dataset(DataConfig(pool="memory://far-again/pool.parquet", text="text", label="label")).pool
    source, really = pickle.loads(pickle.dumps(source)), Storage.open

    def fail(self: Storage, path: str) -> Any:
        raise OSError("no answer")

    monkeypatch.setattr(Storage, "open", fail)
    with pytest.raises(DataError, match="no answer"):
        source.take(np.arange(len(source)))
    monkeypatch.setattr(Storage, "open", really)
    assert len(source.take(np.arange(len(source)))) == len(source)


@pytest.mark.parametrize(("most", "ahead"), [(1 << 20, 4), (2000, 2), (100, 0)])
def test_few_large_row_groups_are_read_at_a_time(most: int, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory("/far-large/pool.parquet", table(200, 50))
    size = len(table(200, 50)) / 4
    monkeypatch.setattr(tables, "_BYTES_AHEAD", int(size * most / 1000))
    source = open_dataset(DataConfig(pool="memory://far-large/pool.parquet", text="text", label="label")).pool
    assert isinstance(source, View)
    assert isinstance(source.base, TableSource)
    assert source.base.tables._pieces_ahead() == ahead
    assert source.take(np.arange(len(source)))[0].startswith("row ")


@pytest.fixture
def folder() -> ImageFolder:
    contents, labels = tiny_images(48)
    for number, (content, label) in enumerate(zip(contents, labels, strict=True)):
        in_memory(f"/far-images/{label}/{number:03d}.png", content)
    pool = open_dataset(DataConfig(pool="memory://far-images", test="memory://far-images")).pool
    assert isinstance(pool, View)
    assert isinstance(pool.base, ImageFolder)
    return pool.base


def test_more_images_of_a_store_are_read_at_once_and_no_more_than_so_many(
    folder: ImageFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_FAR_READERS", 12)
    together = threading.Barrier(12)
    really = Storage.read

    def read(self: Storage, path: str, most: int | None = None) -> bytes:
        # 48 files come in four times twelve: of fewer readers they would wait for ever, and more would be too many.
        together.wait(30)
        return really(self, path, most)

    monkeypatch.setattr(Storage, "read", read)
    taken = folder.take(np.arange(48))
    monkeypatch.undo()
    assert taken == folder.take(np.arange(48))


def test_the_next_shard_is_asked_for_while_the_present_one_is_being_encoded(
    folder: ImageFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = EncoderSession(EncoderConfig(model=str(tiny_image_encoder(tmp_path)), batch_size=4), "image", 1)
    alone = [features_of(session.extract(ShardJob(0, start, start + 24, "float32"), folder)) for start in (0, 24)]
    asked, really, encode = threading.Event(), Storage.read, session.encoder.begin_encoding
    last = folder.ids()[24].as_py()

    def read(self: Storage, path: str, most: int | None = None) -> bytes:
        if path == last:
            asked.set()
        return really(self, path, most)

    def begin_encoding(prepared: Any) -> Any:
        assert asked.wait(30)
        return encode(prepared)

    monkeypatch.setattr(Storage, "read", read)
    monkeypatch.setattr(session.encoder, "begin_encoding", begin_encoding)
    second: list[Any] = []
    beside = threading.Thread(target=lambda: second.append(session.extract(ShardJob(1, 24, 48, "float32"), folder)))
    beside.start()
    first = session.extract(ShardJob(0, 0, 24, "float32"), folder)
    beside.join()
    np.testing.assert_array_equal(features_of(first), alone[0])
    np.testing.assert_array_equal(features_of(second[0]), alone[1])
