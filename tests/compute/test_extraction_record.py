"""What an extraction cost: told of new, cached and half-made features."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_runs import tiny_config

from asvp.compute import Extraction
from asvp.data import open_dataset
from asvp.features.cache import Cache


@pytest.fixture(scope="module")
def extraction(tmp_path_factory: pytest.TempPathFactory) -> Extraction:
    config = tiny_config(tmp_path_factory.mktemp("tiny"))
    return Extraction(open_dataset(config.data).pool, "encoder", 0, config.extraction, title="pool")


@pytest.fixture
def cached(extraction: Extraction, tmp_path: Path):
    return extraction.entry(Cache(str(tmp_path / "cache")))


def test_all_shards_made_now_cost_what_was_spent_and_save_nothing(extraction: Extraction, cached) -> None:
    assert extraction.record(cached, extraction.tasks(cached), 12.5) == (12.5, 0.0)


def test_cached_shards_cost_what_they_cost_when_they_were_made(extraction: Extraction, cached) -> None:
    extraction.record(cached, extraction.tasks(cached), 12.5)
    assert extraction.record(cached, [], 0.01) == (12.5, 12.5)


def test_shards_left_by_a_killed_run_cost_what_the_others_did(extraction: Extraction, cached) -> None:
    tasks = extraction.tasks(cached)
    half = tasks[: len(tasks) // 2]
    rows = sum(task.stop - task.start for task in half)
    total, saved = extraction.record(cached, half, 3.0)
    assert total == pytest.approx(3.0 * len(extraction.source) / rows)
    assert saved == pytest.approx(total - 3.0)


@given(spent=st.floats(1e-6, 1e6))
def test_nothing_is_saved_to_the_last_bit_whatever_was_spent(tmp_path_factory, extraction, spent: float) -> None:
    entry = extraction.entry(Cache(str(tmp_path_factory.mktemp("cache"))))
    assert extraction.record(entry, extraction.tasks(entry), spent) == (spent, 0.0)
