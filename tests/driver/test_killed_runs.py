"""Killed at any moment, a run that is resumed ends as one that was not."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from forked import Forked
from same_runs import assert_same
from tiny_runs import picks, tiny_config

from asvp.compute import Extraction
from asvp.compute.in_process import InProcessBackend
from asvp.config import Config
from asvp.driver.loop import RunResult, run
from asvp.driver.preparation import prepare
from asvp.errors import WorkError
from asvp.features.cache import Cache
from asvp.progress import SilentReporter

pytestmark = pytest.mark.long

TESTS = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """An asvp run of three rounds that refreshes after the first two."""
    return tiny_config(
        tmp_path_factory.mktemp("tiny"),
        mode="asvp",
        refresh={"policy": "at", "at": [20, 30]},
        training={"batch_size": 8},
    )


@pytest.fixture(scope="module")
def whole(config: Config, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunResult, list[int]]:
    """The run that is not killed, and its picks."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return run(config, out=out, in_process=True), picks(out)


def start(config: Config, folder: Path, moment: str) -> Forked:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "config.yaml"
    path.write_text(config.to_yaml())
    return Forked(str(TESTS / "mortal_run.py"), str(path), str(folder / "run"), moment, cwd=folder)


# Eight shards a version (six of the pool, two of the test rows); 3, 4 and 5 steps in the three trainings.
MOMENTS = {
    "in the first extraction": "shard:3",
    "between rounds": "round:1",
    "in the fine-tune of a refresh": "step:2",
    "in the extraction after a fine-tune": "shard:12",
    "before the checkpoint of a refreshed round": "checkpoint:1",
    "in the second fine-tune": "step:5",
    "in the fine-tune of the final model": "step:9",
    "before the final model is saved": "final:1",
    "before the last checkpoint": "checkpoint:3",
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_killed_at_any_moment_ends_as_one_that_was_not(
    moment: str, config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path
) -> None:
    process = start(config, tmp_path, MOMENTS[moment])
    _, error = process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL, error
    resumed = run(config, out=tmp_path / "run", in_process=True, resume=True)
    assert_same(resumed, tmp_path / "run", whole)


def test_an_extraction_killed_half_way_goes_on_at_the_missing_shards(config: Config, tmp_path: Path) -> None:
    extraction = config.extraction.model_copy(update={"cache": str(tmp_path / "cache")})
    cached = config.model_copy(update={"extraction": extraction})
    process = start(cached, tmp_path, "shard:5")
    process.communicate(timeout=120)
    prepared = prepare(cached)
    extraction_of_pool = Extraction(
        prepared.dataset.pool, prepared.encoder_fingerprint, 0, cached.extraction, title="pool"
    )
    entry = extraction_of_pool.entry(prepared.cache)
    assert entry is not None
    kept = entry.parts()
    assert 0 < len(kept) < len(extraction_of_pool.jobs(entry, print))
    extracted: list[int] = []

    class Counting(SilentReporter):
        def task(self, title: str, total: int, unit: str) -> Any:
            extracted.append(total)
            return super().task(title, total, unit)

    workers = InProcessBackend(prepared.encoder, prepared.cache, Counting())
    workers.extract(extraction_of_pool)
    assert extracted == [300 - 50 * len(kept)]
    assert {name: entry.parts()[name] for name in kept} == kept


def test_two_processes_that_fill_the_same_cache_end_alike_and_leave_it_whole(
    config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path
) -> None:
    extraction = config.extraction.model_copy(update={"cache": str(tmp_path / "cache")})
    cached = config.model_copy(update={"extraction": extraction})
    processes = [start(cached, tmp_path / name, "never:1") for name in ("a", "b")]
    for process in processes:
        _, error = process.communicate(timeout=240)
        assert process.returncode == 0, error
    for name in ("a", "b"):
        assert picks(tmp_path / name / "run") == whole[1]
    checked = list(Cache(str(tmp_path / "cache")).verify())
    assert len(checked) >= 3 * 6
    assert [name for name, error in checked if error is not None] == []
    assert not list((tmp_path / "cache").rglob("*.tmp"))


@pytest.mark.parametrize(
    ("writes", "number", "told"),
    [*((count, errno.ENOSPC, "disk is full") for count in (3, 5, 8, 11)), (5, errno.EFBIG, "no file may be so large")],
)
def test_a_full_disk_stops_a_run_clearly_and_loses_nothing(
    writes: int,
    number: int,
    told: str,
    config: Config,
    whole: tuple[RunResult, list[int]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    left = [writes]
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if left[0] == 0:
            raise OSError(number, os.strerror(number))
        left[0] -= 1
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(WorkError, match=rf"{told}.*--resume"):
        run(config, out=tmp_path / "run", in_process=True)
    monkeypatch.undo()
    resumed = run(config, out=tmp_path / "run", in_process=True, resume=True)
    assert_same(resumed, tmp_path / "run", whole)


def test_a_full_disk_under_the_cache_costs_the_cache_alone(
    config: Config, whole: tuple[RunResult, list[int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    extraction = config.extraction.model_copy(update={"cache": str(tmp_path / "cache")})
    cached = config.model_copy(update={"extraction": extraction})
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if "cache" in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    result = run(cached, out=tmp_path / "run", in_process=True)
    assert_same(result, tmp_path / "run", whole)
    # Once, though every model and every version of the features meets it.
    assert (tmp_path / "run" / "run.log").read_text().count(
        "not cached (6 shards): extraction.cache: the disk is full"
    ) == 1
