"""A cache that fails, is damaged or holds something else costs a run its reuse and nothing more, and that is told."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from failing_store import FailingFileSystem
from recording import Told
from safetensors.numpy import save
from tiny_runs import picks, tiny_config

from asvp.compute import Extraction
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec, FineTuneJob, ShardJob
from asvp.compute.shard_cache import stored_shard
from asvp.config import Config
from asvp.data import Dataset, open_dataset
from asvp.driver.loop import run
from asvp.errors import CacheError
from asvp.features import FeatureSet, feature_table
from asvp.features.cache import Cache, MissingPartError
from asvp.spent import NOTHING

ROOT = "failing://cache"


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return open_dataset(config.data)


@pytest.fixture(autouse=True)
def store() -> Iterator[type[FailingFileSystem]]:
    FailingFileSystem.fails = ""
    FailingFileSystem.store.clear()
    yield FailingFileSystem
    FailingFileSystem.fails = ""


def extract(config: Config, dataset: Dataset, cache: Cache | None, told: Told) -> tuple[np.ndarray, FeatureSet]:
    backend = InProcessBackend(EncoderSpec(config.encoder, "text"), cache, told)
    features = backend.extract(Extraction(dataset.pool, "encoder", 0, config.extraction, title="pool"))
    return np.concatenate([block for _, block in features.blocks()]), features


@pytest.fixture(scope="module")
def expected(config: Config, dataset: Dataset) -> np.ndarray:
    return extract(config, dataset, None, Told())[0]


def test_a_store_that_does_not_answer_is_a_cache_error_before_work(store: type[FailingFileSystem]) -> None:
    store.fails = "all"
    with pytest.raises(CacheError, match="EndpointConnectionError: Could not connect") as caught:
        Cache(ROOT)
    assert (caught.value.key, caught.value.value, caught.value.exit_code) == ("extraction.cache", ROOT, 2)
    assert "credentials" in str(caught.value.mend)


@pytest.mark.parametrize("fails", ["read", "write", "all"])
def test_a_store_that_goes_away_costs_the_reuse_alone(
    fails: str, store: type[FailingFileSystem], config: Config, dataset: Dataset, expected: np.ndarray
) -> None:
    cache, told = Cache(ROOT), Told()
    store.fails = fails
    found, features = extract(config, dataset, cache, told)
    np.testing.assert_array_equal(found, expected)
    assert features.saved == NOTHING
    assert any("cache" in line and "EndpointConnectionError" in line for line in told.lines)


def test_a_store_that_goes_away_during_a_run_changes_no_pick(
    store: type[FailingFileSystem], config: Config, tmp_path: Path
) -> None:
    changes = {"mode": "asvp", "refresh": {"policy": "at", "at": [20]}, "extraction": {"cache": ROOT}}
    cached = tiny_config(Path(config.data.pool).parent, **changes)
    plain = tiny_config(Path(config.data.pool).parent, **{**changes, "extraction": {"cache": None}})
    run(plain, out=tmp_path / "plain", in_process=True)
    told = Told()

    def go_away(record: Any) -> None:
        store.fails = "all"

    result = run(cached, out=tmp_path / "cached", in_process=True, on_round=go_away, reporter=told)
    assert len(result.rounds) == 3
    assert result.summary
    assert picks(tmp_path / "cached") == picks(tmp_path / "plain")
    assert any("EndpointConnectionError" in line for line in told.lines)


def test_a_cache_folder_that_is_removed_during_a_run_changes_no_pick(config: Config, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    cached = tiny_config(Path(config.data.pool).parent, extraction={"cache": str(folder), "cache_limit": "1MB"})
    run(config, out=tmp_path / "plain", in_process=True)
    run(cached, out=tmp_path / "cached", in_process=True, on_round=lambda record: shutil.rmtree(folder, True))
    assert picks(tmp_path / "cached") == picks(tmp_path / "plain")


def shard(rows: np.ndarray, features: np.ndarray) -> pa.Table:
    column = pa.FixedSizeListArray.from_arrays(pa.array(features.reshape(-1)), features.shape[1])
    return pa.table({"row": rows, "feature": column})


def serialised(table: pa.Table) -> pa.Buffer:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()


ROWS, FEATURES = np.arange(50), np.ones((50, 32), np.float32)
OTHERS = {
    "bytes": b"no shard at all",
    "nothing": b"",
    "other rows": serialised(shard(ROWS + 50, FEATURES)),
    "rows in another order": serialised(shard(np.r_[0, ROWS[1:-1][::-1], 49], FEATURES)),
    "fewer rows": serialised(shard(ROWS[:49], FEATURES[:49])),
    "another type": serialised(shard(ROWS, FEATURES.astype(np.float64))),
    "rows of another type": serialised(shard(ROWS.astype(np.int32), FEATURES)),
    "no columns of a shard": serialised(pa.table({"id": ROWS})),
    "lists": serialised(pa.table({"row": ROWS, "feature": FEATURES.tolist()})),
    "no numbers": serialised(shard(ROWS, np.where(ROWS[:, None] == 7, np.nan, FEATURES).astype(np.float32))),
    "another width": serialised(feature_table(FEATURES[:, :5], 0, "float32")),
}


@pytest.mark.parametrize("case", OTHERS)
def test_a_shard_with_the_right_name_and_other_content_is_told_and_made_anew(
    case: str, config: Config, dataset: Dataset, expected: np.ndarray, tmp_path: Path
) -> None:
    cache, told = Cache(str(tmp_path / "cache")), Told()
    _, features = extract(config, dataset, cache, told)
    entry = cache.entry("features", features.fingerprint)
    (Path(cache.root) / "features" / entry.key / entry.parts()["000000"]).unlink()
    entry.write("000000", OTHERS[case], "arrow")
    found, _ = extract(config, dataset, cache, told)
    np.testing.assert_array_equal(found, expected)
    assert len(told.lines) == 1
    assert "cache" in told.lines[0]


@pytest.mark.parametrize("harm", ["weights", "head", "other head", "half", "no description"])
def test_a_model_that_is_not_whole_is_trained_anew(harm: str, config: Config, dataset: Dataset, tmp_path: Path) -> None:
    rows = np.arange(12)
    labels = dataset.oracle.buy(rows)
    job = FineTuneJob("ft", dataset.pool, rows, labels, len(dataset.classes), config.training, 0, "encoder")
    cache, told = Cache(str(tmp_path / "cache")), Told()
    backend = InProcessBackend(EncoderSpec(config.encoder, "text"), cache, told)
    first = backend.train(job)
    entry = cache.entry("models", job.key)
    folder = Path(cache.root) / "models" / job.key
    assert backend.train(job).reused
    if harm == "other head":
        other = entry.write("head", save({"weight": np.zeros((2, 3)), "bias": np.zeros(2)}), "safetensors")
        entry.describe({**entry.description(), "files": {**entry.description()["files"], "head": other}})
    elif harm == "no description":
        (folder / "entry.json").unlink()
    elif harm == "half":
        (folder / entry.parts()["head"]).unlink()
    else:
        (folder / entry.parts()[harm]).write_bytes(b"cut")
    again = backend.train(job)
    assert not again.reused
    # A model that was never finished is no news.
    assert len(told.lines) == (harm != "no description")
    assert all(line.startswith("cache: ") for line in told.lines)
    np.testing.assert_array_equal(again.head.weight, first.head.weight)
    assert backend.train(job).reused


def test_two_models_under_one_key_are_not_mixed(config: Config, dataset: Dataset, tmp_path: Path) -> None:
    """Two processes may train the same model with other last bits."""
    rows = np.arange(12)
    labels = dataset.oracle.buy(rows)
    job = FineTuneJob("ft", dataset.pool, rows, labels, len(dataset.classes), config.training, 0, "encoder")
    cache = Cache(str(tmp_path / "cache"))
    backend = InProcessBackend(EncoderSpec(config.encoder, "text"), cache, Told())
    trained = backend.train(job)
    entry = cache.entry("models", job.key)
    for number in range(8):
        head = {"weight": trained.head.weight + number + 1, "bias": trained.head.bias}
        entry.write("head", save(head), "safetensors")
    np.testing.assert_array_equal(backend.train(job).head.weight, trained.head.weight)


def test_a_lost_shard_that_the_cache_cannot_give_back_is_told(store: type[FailingFileSystem]) -> None:
    entry = Cache(ROOT).entry("features", "k")
    job = ShardJob(0, 0, 5, "float32", entry)
    with pytest.raises(MissingPartError, match="not stored"):
        stored_shard(job)
    store.fails = "all"
    with pytest.raises(CacheError, match="EndpointConnectionError"):
        stored_shard(job)
    store.fails = ""
    with pytest.raises(MissingPartError):
        entry.read("000000")
