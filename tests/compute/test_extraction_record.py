"""What an extraction cost: told of new, cached and half-made features."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import tiny_config

from asvp.compute import Extraction
from asvp.compute.jobs import ShardReport
from asvp.data import open_dataset
from asvp.features.cache import Cache, CacheEntry
from asvp.features.moments import Moments
from asvp.spent import NOTHING, Share, Spent

# Two cores and half a GPU.
SHARE = Share(2.0, 0.5)


@pytest.fixture(scope="module")
def extraction(tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    config = tiny_config(tmp_path_factory.mktemp("tiny"))
    return Extraction(open_dataset(config.data).pool, "encoder", 0, config.extraction, title="pool")


@pytest.fixture
def cached(extraction: Extraction, tmp_path: Path) -> CacheEntry:
    entry = extraction.entry(Cache(str(tmp_path / "cache")))
    assert entry is not None
    return entry


def reports(extraction: Extraction, seconds: float, made: Iterable[int] = range(6)) -> list[ShardReport]:
    """Of six shards of 50 rows, those in `made` extracted in so many seconds each and the others read."""
    moments = Moments.of(np.zeros((1, 2), np.float32))
    read = [ShardReport(job.index, job.rows, 2, moments, reused=True) for job in extraction.jobs(None, print)]
    done = set(made)
    return [replace(one, spent=SHARE.spent(seconds), reused=False) if one.index in done else one for one in read]


def test_all_shards_made_now_cost_what_was_spent_and_save_nothing(extraction: Extraction, cached: CacheEntry) -> None:
    assert extraction.record(cached, reports(extraction, 2.0)) == (Spent(12.0, 24.0, 6.0), NOTHING)


def test_without_a_cache_it_is_the_same(extraction: Extraction) -> None:
    assert extraction.record(None, reports(extraction, 2.0)) == (Spent(12.0, 24.0, 6.0), NOTHING)


def test_cached_shards_cost_what_they_cost_when_they_were_made(extraction: Extraction, cached: CacheEntry) -> None:
    extraction.record(cached, reports(extraction, 2.0))
    # However often they are read.
    for _ in range(3):
        told = extraction.record(cached, reports(extraction, 0.0, made=()))
        assert told == (Spent(12.0, 24.0, 6.0), Spent(12.0, 24.0, 6.0))


def test_shards_left_by_a_killed_run_cost_what_the_others_did(extraction: Extraction, cached: CacheEntry) -> None:
    total, saved = extraction.record(cached, reports(extraction, 1.5, made=(4, 5)))
    assert total == Spent(9.0, 18.0, 4.5)
    assert saved == Spent(6.0, 12.0, 3.0)
    assert cached.spent() == total


def test_damaged_shards_made_anew_take_the_place_of_what_they_cost(extraction: Extraction, cached: CacheEntry) -> None:
    extraction.record(cached, reports(extraction, 2.0))
    total, saved = extraction.record(cached, reports(extraction, 5.0, made=(0, 1, 2)))
    assert saved == Spent(6.0, 12.0, 3.0)
    assert total == Spent(21.0, 42.0, 10.5)


def test_an_entry_of_an_earlier_version_counts_as_seconds_of_one_core(
    extraction: Extraction, cached: CacheEntry
) -> None:
    cached.describe({"what": "pool features, version 0", "seconds": 12.5})
    assert cached.spent() == Spent(12.5, 12.5)
    read = reports(extraction, 0.0, made=())
    assert extraction.record(cached, read) == (Spent(12.5, 12.5), Spent(12.5, 12.5))
    assert extraction.record(cached, read) == (Spent(12.5, 12.5), Spent(12.5, 12.5))


AMOUNTS = {"seconds": 1.0, "cpu_seconds": 1.0, "gpu_seconds": 0.0}


@pytest.mark.parametrize(
    "spent", ["soon", [1, 2, 3], None, {"seconds": 1.0}, {**AMOUNTS, "cpu_seconds": -1.0}, {**AMOUNTS, "seconds": True}]
)
def test_a_cost_that_is_none_counts_as_that_of_an_earlier_version(cached: CacheEntry, spent: object) -> None:
    cached.describe({"seconds": 3.0, "spent": spent})
    assert cached.spent() == Spent(3.0, 3.0)
    cached.describe({"spent": spent})
    assert cached.spent() is None


def test_an_entry_tells_its_seconds_to_earlier_versions_too(extraction: Extraction, cached: CacheEntry) -> None:
    extraction.record(cached, reports(extraction, 2.0))
    (entry,) = Path(cached.root).rglob("entry.json")
    assert json.loads(entry.read_text())["seconds"] == 12.0


@given(seconds=st.floats(1e-6, 1e6))
def test_nothing_is_saved_to_the_last_bit_whatever_was_spent(tmp_path_factory, extraction, seconds: float) -> None:
    entry = extraction.entry(Cache(str(tmp_path_factory.mktemp("cache"))))
    told = reports(extraction, seconds)
    total, saved = extraction.record(entry, told)
    assert saved == NOTHING
    assert total == sum((report.spent for report in told), NOTHING)
    assert entry.spent() == total
