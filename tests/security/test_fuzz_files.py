"""Files of damaged bytes, whoever wrote them: an error of ours or a result, no hang, and nothing written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from fuzzing import damaged, damages, fuzzed, no_hang, tree
from hypothesis import example, given
from hypothesis import strategies as st
from tiny_runs import tiny_config

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.driver.loop import run
from asvp.errors import AsvpError
from asvp.features.cache import Cache
from asvp.models.classifier import Classifier
from asvp.progress import SilentReporter
from asvp.record.checkpoint import is_checkpoint
from asvp.record.run_directory import RunDirectory
from asvp.report.commands import read_commands
from asvp.report.records import read_records
from asvp.report.results import read_results
from asvp.report.shown_rows import ROW_MAP, SHOWN_ROWS, read_map, read_shown_rows
from asvp.report.status_files import read_status
from asvp.tune_spaces.search import read_search

ROWS = 40
TABLE = pa.table(
    {
        "id": [f"row-{number}" for number in range(ROWS)],
        "text": [f'some "text", and\nmore {number}' for number in range(ROWS)],
        "label": [f"class-{number % 3}" for number in range(ROWS)],
    }
)
DEEP = [("put", 0.0, b"[" * 50_000)]
FORMS = ("parquet", "arrow", "csv", "tsv", "jsonl", "npz")


@pytest.fixture(autouse=True)
def watched() -> Iterator[None]:
    with no_hang():
        yield


def write_table(path: Path) -> bytes:
    """The table as a file, and the file's bytes."""
    form = path.suffix[1:]
    if form == "parquet":
        pq.write_table(TABLE, path, row_group_size=16)
    elif form == "arrow":
        with pa.ipc.new_file(path, TABLE.schema) as writer:
            writer.write_table(TABLE, 16)
    elif form == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in TABLE.to_pylist()))
    elif form == "npz":
        features = np.random.default_rng(0).normal(size=(ROWS, 3)).astype(np.float32)
        np.savez(path, features=features, label=np.arange(ROWS) % 3)
    else:
        pa.csv.write_csv(TABLE, path, pa.csv.WriteOptions(delimiter="," if form == "csv" else "\t"))
    return path.read_bytes()


def reads(read: Callable[[], Any], folder: Path) -> None:
    """Read, with a result or an error of ours, and leave all files as they are."""
    before = tree(folder)
    told = ""
    try:
        read()
    except AsvpError as error:
        told = str(error)
    assert len(told) < 5000
    assert tree(folder) == before


@pytest.mark.parametrize("form", FORMS)
def test_a_damaged_table_is_rows_or_an_error(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"t.{form}"
    whole = write_table(path)
    config = DataConfig(pool=str(path), test=str(path))

    def everything() -> None:
        pool = open_dataset(config).pool
        pool.take(np.arange(len(pool)))

    everything()

    @fuzzed(30)
    @given(changes=damages())
    @example(changes=DEEP)
    def one(changes: list[tuple[str, float, bytes]]) -> None:
        path.write_bytes(damaged(whole, changes))
        reads(everything, tmp_path)

    one()


@pytest.mark.parametrize("form", ["parquet", "csv", "jsonl"])
def test_a_damaged_oracle_file_is_labels_or_an_error(form: str, tmp_path: Path) -> None:
    path = tmp_path / f"oracle.{form}"
    whole = write_table(path)
    pq.write_table(TABLE.drop_columns("label"), tmp_path / "pool.parquet")
    pq.write_table(TABLE, tmp_path / "test.parquet")
    pool, test = str(tmp_path / "pool.parquet"), str(tmp_path / "test.parquet")
    config = DataConfig(pool=pool, test=test, oracle=str(path))
    open_dataset(config)

    @fuzzed(30)
    @given(changes=damages())
    @example(changes=DEEP)
    def one(changes: list[tuple[str, float, bytes]]) -> None:
        path.write_bytes(damaged(whole, changes))
        reads(lambda: open_dataset(config), tmp_path)

    one()


@fuzzed(40)
@given(which=st.integers(0, 3), changes=damages())
@example(which=0, changes=DEEP)
@example(which=1, changes=DEEP)
@example(which=2, changes=DEEP)
def test_a_damaged_cache_is_entries_or_an_error(which: int, changes: Any, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("cache")
    entry = Cache(str(folder)).entry("features", "k" * 16)
    entry.describe({"rows": 3, "seconds": 1.0, "spent": {"seconds": 1.0}})
    for number in range(2):
        entry.write(f"shard-{number}", bytes(range(50)), "arrow")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    path = files[which % len(files)]
    path.write_bytes(damaged(path.read_bytes(), changes))

    def everything() -> None:
        cache = Cache(str(folder))
        cache.require_present()
        for known in cache.entries():
            assert known.nbytes >= 0
        list(cache.verify())
        entry.description()
        entry.spent()
        entry.info()
        for part, name in entry.parts().items():
            entry.read(part, name)

    reads(everything, folder)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with everything that a run leaves."""
    folder = tmp_path_factory.mktemp("run")
    config = tiny_config(folder, training={"keep": "all"}, budget="20+10")
    run(config, out=folder / "run", in_process=True, reporter=SilentReporter())
    (folder / "run" / "arm.json").write_text('{"arm": "svp", "place": 0}')
    (folder / "run" / "stopped.json").write_text('{"message": "stopped"}')
    (folder / "run" / "failure.json").write_text('{"kind": "ValueError", "message": "none"}')
    return folder / "run"


def read_whole_run(folder: Path) -> list[Callable[[], Any]]:
    """Everything that reads a run's directory."""
    directory = RunDirectory(folder)
    return [
        directory.read_config,
        directory.environment,
        directory.rounds,
        directory.labelled,
        directory.test_rows,
        lambda: read_shown_rows(folder / SHOWN_ROWS),
        lambda: read_map(folder / ROW_MAP),
        directory.read_summary,
        directory.failure,
        directory.stopped,
        lambda: directory.check(resume=True),
        lambda: directory.check(resume=False),
        lambda: is_checkpoint(folder / "checkpoint"),
        lambda: read_records([folder]),
        lambda: read_status(folder),
        lambda: read_commands(folder),
    ]


@fuzzed(60)
@given(which=st.integers(0, 99), changes=damages())
def test_a_damaged_run_is_told_of_or_an_error(which: int, changes: Any, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(finished, folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".safetensors")
    path = files[which % len(files)]
    path.write_bytes(damaged(path.read_bytes(), changes))
    for read in read_whole_run(folder):
        reads(read, folder)


@pytest.mark.parametrize("nested", [b"[" * 100_000, b'{"a":' * 100_000, b"- " * 100_000])
def test_every_file_of_a_run_may_be_nested_without_end(nested: bytes, finished: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for path in [path for path in folder.rglob("*") if path.suffix in (".json", ".jsonl", ".yaml")]:
        whole = path.read_bytes()
        path.write_bytes(nested)
        for read in read_whole_run(folder):
            reads(read, folder)
        reads(lambda: Classifier.load(folder / "model", device="cpu"), folder)
        path.write_bytes(whole)


@fuzzed(40)
@given(changes=damages())
@example(changes=DEEP)
def test_damaged_files_of_a_sweep_are_read_or_an_error(changes: Any, tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("sweep")
    results = pa.table({"trial": ["a"], "arm": ["a"], "seed": [0], "round": [0], "labelled": [20], "finished": [True]})
    pq.write_table(results, folder / "results.parquet")
    (folder / "results.parquet").write_bytes(damaged((folder / "results.parquet").read_bytes(), changes))
    (folder / "search.json").write_bytes(
        damaged(b'{"search": "random", "samples": 2, "suggested": [{"parameters": {"a": 1}, "arm": "b"}]}', changes)
    )
    (folder / "trials.json").write_bytes(
        damaged(b'[{"trial": "a-seed0", "arm": "a", "seed": 0, "budget": [20, 10]}]', changes)
    )
    for read in (
        lambda: read_results(folder / "results.parquet"),
        lambda: read_search(folder),
        lambda: read_status(folder),
        lambda: read_records([folder]),
    ):
        reads(read, folder)
