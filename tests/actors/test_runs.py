"""Runs of shards follow the pieces of files: few workers decode the same one."""

from __future__ import annotations

import os
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from ray import cloudpickle
from ray_pools import whole

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import worker_pool
from asvp.actors.runs import Runs
from asvp.compute import Extraction
from asvp.compute.jobs import EncoderSpec, ShardJob
from asvp.compute.placement import Placement
from asvp.config import DataConfig, EncoderConfig, ExtractionConfig
from asvp.data import open_dataset
from asvp.data.source import View, pieces_of
from asvp.data.tables import Tables
from asvp.progress import SilentReporter

# The tests are no package that a worker could import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])


def shards(count: int, rows: int = 10) -> list[ShardJob]:
    return [ShardJob(number, rows * number, rows * number + rows, "float32") for number in range(count)]


def starts(*lengths: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def indices(runs: Runs, holder: str, count: int) -> list[int]:
    taken = [runs.take(holder) for _ in range(count)]
    return [job.index for job in taken if job is not None]


def test_workers_take_shards_of_their_own_pieces() -> None:
    runs = Runs(shards(6), starts(20, 20, 20))
    assert indices(runs, "a", 1) == [0]
    assert indices(runs, "b", 1) == [2]
    assert indices(runs, "a", 2) == [1, 4]
    assert indices(runs, "b", 1) == [3]
    assert len(runs) == 1


def test_without_pieces_shards_come_in_their_order_to_whoever_asks() -> None:
    runs = Runs(shards(3))
    assert [indices(runs, holder, 1) for holder in "aba"] == [[0], [1], [2]]
    assert runs.take("b") is None


def test_a_long_run_is_shared_where_a_worker_would_idle_and_left_alone_before() -> None:
    runs = Runs(shards(9), starts(70, 20))
    assert indices(runs, "a", 2) == [0, 1]
    assert indices(runs, "b", 2) == [7, 8]
    assert indices(runs, "b", 2) == [4, 5], "the later half of what a has left"
    assert indices(runs, "a", 3) == [2, 3, 6]
    assert len(runs) == 0


def test_what_a_worker_leaves_goes_to_the_next_one() -> None:
    runs = Runs(shards(6), starts(30, 30))
    first = [runs.take("a")]
    runs.release("a")
    runs.put_back([job for job in first if job is not None])
    assert len(runs) == 6
    assert indices(runs, "b", 6) == [0, 1, 2, 3, 4, 5]


def test_shards_in_the_cache_are_runs_of_their_own() -> None:
    jobs = [ShardJob(number, number, number + 1, "float32", stored="file") for number in range(4)]
    runs = Runs(jobs, starts(4))
    assert [indices(runs, holder, 1) for holder in "abab"] == [[0], [1], [2], [3]]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.lists(st.integers(0, 3), min_size=200, max_size=200))
def test_every_shard_is_taken_once_whoever_asks_when(lengths: list[int], asking: list[int]) -> None:
    jobs = shards(-(-sum(lengths) // 10))
    runs = Runs(jobs, starts(*lengths))
    taken = [job for holder in asking if (job := runs.take(str(holder))) is not None]
    assert sorted(job.index for job in taken) == [job.index for job in jobs]


class LoggedTables(Tables):
    """Tables that note which process opens which piece, while a worker extracts."""

    log: Path

    def _blocks(self, column: str, piece: int) -> Iterator[Any]:
        with self.log.open("a") as log:
            log.write(f"{os.getpid()} {piece}\n")
        return super()._blocks(column, piece)


def decoders(folder: Path, groups: int, group_rows: int, shard_rows: int) -> dict[int, list[str]]:
    """Which processes have decoded each row group, one entry a decoding, when three workers extract."""
    rows = groups * group_rows
    vectors = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
    columns = {"features": list(vectors), "label": ["a", "b"] * (rows // 2)}
    path = folder / "rows.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=group_rows)
    config = DataConfig(pool=str(path), test=str(path), features="features", id=None)
    pool = open_dataset(config).pool
    assert isinstance(pool, View)
    base: Any = pool.base
    base.tables.__class__ = LoggedTables
    base.tables.log = folder / "log"
    extraction = Extraction(pool, "none", 0, ExtractionConfig(shard_rows=shard_rows, cache=None))
    with worker_pool(Placement(3, 1.0, 0.0)) as workers:
        backend = PoolBackend(workers, EncoderSpec(EncoderConfig(), "features"), None, SilentReporter())
        features = backend.extract(extraction)
        backend.close()
    assert_array_equal(whole(features), vectors)
    found = defaultdict(list)
    for line in (folder / "log").read_text().splitlines():
        process, piece = line.split()
        found[int(piece)].append(process)
    assert sorted(found) == list(range(groups))
    return found


def test_each_row_group_is_decoded_once_by_one_of_several_workers(ray_local: Any, tmp_path: Path) -> None:
    found = decoders(tmp_path, groups=12, group_rows=100, shard_rows=50)
    # Of the last ones, when nothing else is left, idle workers may take a half.
    shared = [processes for processes in found.values() if len(processes) > 1]
    assert len(shared) <= 2
    assert all(len(processes) == len(set(processes)) == 2 for processes in shared)


def test_a_row_group_that_shards_straddle_is_decoded_at_most_twice(ray_local: Any, tmp_path: Path) -> None:
    found = decoders(tmp_path, groups=12, group_rows=90, shard_rows=60)
    assert all(len(set(processes)) <= 2 for processes in found.values())
    assert all(len(processes) <= 2 for processes in found.values())


@pytest.mark.parametrize("limited", [False, True])
def test_a_view_tells_where_the_pieces_of_its_base_begin(limited: bool) -> None:
    class Pieces:
        def pieces(self) -> np.ndarray:
            return np.array([0, 4, 8, 10])

        def __len__(self) -> int:
            return 10

    base: Any = Pieces()
    view = View(base, np.array([1, 3, 4, 9]) if limited else None)
    assert_array_equal(pieces_of(view), [0, 2, 3, 4] if limited else [0, 4, 8, 10])
    assert pieces_of(View(base, np.array([3, 1]))) is None
