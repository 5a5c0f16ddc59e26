"""Shards that one worker has under way read one row group together, and no part of it twice."""

from __future__ import annotations

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tiny_encoders import tiny_image_encoder, tiny_images

from asvp.compute import Extraction, in_process
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec
from asvp.config import DataConfig, EncoderConfig, ExtractionConfig
from asvp.data import Source, open_dataset, tables
from asvp.progress import SilentReporter

ROWS, BLOCKS = 240, 12


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Images in one row group."""
    images, labels = tiny_images(ROWS)
    path = tmp_path_factory.mktemp("images") / "pool.parquet"
    pq.write_table(pa.table({"image": images, "label": labels}), path, use_dictionary=False)
    return open_dataset(DataConfig(pool=str(path), test=str(path), image="image")).pool


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> EncoderConfig:
    return EncoderConfig(model=str(tiny_image_encoder(tmp_path_factory.mktemp("encoder") / "vit")), batch_size=8)


@pytest.fixture
def decoded(pool: Source, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The rows of each block, of which a twelfth of the images makes one, as it is decoded."""
    found: list[int] = []
    read = tables._READERS["parquet"]

    def counting(*arguments):
        for block in read(*arguments):
            found.append(len(block))
            yield block

    size = sum(len(image) for image in pool.take(np.arange(ROWS)))
    monkeypatch.setattr(tables, "_BLOCK_BYTES", size // BLOCKS)
    monkeypatch.setitem(tables._READERS, "parquet", counting)
    return found


@pytest.mark.parametrize("at_a_time", [2, 3])
@pytest.mark.parametrize("shard_rows", [32, 64])
def test_shards_of_one_row_group_decode_each_of_its_blocks_once(
    pool: Source,
    encoder: EncoderConfig,
    decoded: list[int],
    monkeypatch: pytest.MonkeyPatch,
    at_a_time: int,
    shard_rows: int,
) -> None:
    def features(source: Source) -> np.ndarray:
        backend = InProcessBackend(EncoderSpec(encoder, "image"), None, SilentReporter())
        extraction = Extraction(source, "encoder", 0, ExtractionConfig(shard_rows=shard_rows))
        return backend.extract(extraction).span(0, ROWS)

    # As a worker gets it: without what this process has read.
    fresh = pickle.loads(pickle.dumps(pool))
    expected = features(pool)
    decoded.clear()
    monkeypatch.setattr(in_process, "shards_at_a_time", lambda *_: at_a_time)
    np.testing.assert_array_equal(features(fresh), expected)
    assert sum(decoded) == ROWS
    assert len(decoded) >= BLOCKS
