"""What the driver does for a pool of 100 M rows: its seconds and bytes, against the number of shards.

    python benchmarks/driver_scale.py --docs docs

Everything that the driver does is done as in a run: it opens the rows, plans the extraction, has the shards made by the
workers of a pool and kept in a cache, has them read from it again, sends jobs on the features and names the rows that
were bought. Only the rows and the encoder are made up: rows follow from their numbers (driver_scale_rows.py), and what
follows is the feature already. Labels and names are of 4,096 rows a shard. Tables of features never come to the driver,
so theirs have 16 rows of 768 numbers, and 24,000 of them fit on one machine.

Seconds are CPU seconds of the driver's process, which other work on the machine disturbs least, and all that passed;
bytes are what its private memory grew by. Each size is measured in a process and on a Ray of its own. Some ten minutes
on two cores; writes its table into DOCS/scaling.md.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")

import click
import driver_scale_rows
import numpy as np
import psutil
from driver_scale_rows import CLASSES, NumberedRows
from selection_report import fill, table

DIM = 768
ROWS = 4096
"""A shard, where rows are opened, labelled and named."""
SMALL_ROWS = 16
"""A shard, where its features are made."""
LABELLED = 10_000
STORE_BYTES = 2 << 30
INLINE_BYTES = 20_000
"""What lies in the owner's process rather than in the store: reports do, and no table, as at full size."""
STEPS = {
    "open": "open the rows: labels, classes, digest",
    "extract": "extract, and keep in the cache",
    "cached": "extract again, out of the cache",
    "job": "send the features with a job",
    "locate": "ask where the shards lie",
    "gather": f"gather {LABELLED:,} rows",
    "ids": f"name {LABELLED:,} rows",
}


class Measured:
    """CPU seconds, seconds and bytes of the steps of this process."""

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, float]] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure what is done inside."""
        process = psutil.Process()
        held, cpu, began = process.memory_full_info().uss, time.process_time(), time.perf_counter()
        yield
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        self.steps[name] = {"cpu": cpu, "wall": wall, "bytes": process.memory_full_info().uss - held}


def measure(shards: int, profile: Path | None) -> dict[str, Any]:
    """All steps with so many shards."""
    import ray
    from ray import cloudpickle

    # Benchmarks are no package that a worker could import.
    cloudpickle.register_pickle_by_value(driver_scale_rows)
    measured = Measured()
    with tempfile.TemporaryDirectory() as cache:
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=STORE_BYTES,
            _system_config={"max_direct_call_object_size": INLINE_BYTES},
        )
        try:
            if profile is None:
                _measure(shards, cache, measured)
            else:
                import cProfile

                with cProfile.Profile() as profiler:
                    _measure(shards, cache, measured)
                profiler.dump_stats(profile)
        finally:
            ray.shutdown()
    return {"shards": shards, "steps": measured.steps, "peak": _peak_bytes()}


def _measure(shards: int, folder: str, measured: Measured) -> None:
    from asvp.actors.backend import PoolBackend
    from asvp.actors.pool import worker_pool
    from asvp.actors.selection import shard_homes
    from asvp.compute.extraction import Extraction
    from asvp.compute.jobs import EncoderSpec, ProxyJob
    from asvp.compute.placement import Placement
    from asvp.config import DataConfig, EncoderConfig, ExtractionConfig, ProxyConfig
    from asvp.data import open_dataset
    from asvp.driver.names import Names
    from asvp.features.cache import Cache
    from asvp.progress import SilentReporter
    from asvp.record.labelled import LabelledSet

    place = "driver_scale_rows:open_rows"
    config = DataConfig(pool=f"{place}:{shards * ROWS}x{DIM}", test=f"{place}:{CLASSES}x{DIM}")
    # What is imported at the first use is none of it.
    open_dataset(DataConfig(pool=f"{place}:{CLASSES}x{DIM}", test=f"{place}:{CLASSES}x{DIM}"))
    with measured.step("open"):
        dataset = open_dataset(config)
        dataset.pool.digest(), dataset.oracle.digest()
    cache = Cache(folder)
    made = ExtractionConfig(shard_rows=SMALL_ROWS, feature_dtype="float16", cache=folder)
    rng = np.random.default_rng(0)
    with worker_pool(Placement(2, 1.0, 0.0)) as pool:
        backend = PoolBackend(pool, EncoderSpec(EncoderConfig(), "features"), cache, SilentReporter())
        small = NumberedRows(shards * SMALL_ROWS, DIM)
        # The workers are there before the first shard is asked for.
        backend.machine()
        features = None
        for step in ("extract", "cached"):
            features = None
            with measured.step(step):
                features = backend.extract(Extraction(small, "none", 0, made, title="pool"))
            _check(features, shards)
        assert features is not None
        few = rng.choice(len(features), 100, replace=False)
        job = ProxyJob(features, few, np.arange(100) % 2, 2, ProxyConfig(hidden=[], epochs=1), 0)
        with measured.step("job"):
            backend.do(job)
        with measured.step("locate"):
            shard_homes(features)
        with measured.step("gather"):
            features.gather(rng.choice(len(features), LABELLED, replace=False))
        measured.steps["job"]["sent"] = len(_pickled(features))
        bought = LabelledSet()
        rows = rng.choice(len(dataset.pool), LABELLED, replace=False)
        bought.add(rows, dataset.oracle.buy(rows), 0)
        with measured.step("ids"):
            bought.table(Names(dataset.pool).of(rows), dataset.classes)
        backend.close()


def _check(features: Any, shards: int) -> None:
    assert len(features.shards) == shards
    assert features.moments.count == shards * SMALL_ROWS


def _pickled(features: Any) -> bytes:
    import ray

    return ray._private.worker.global_worker.get_serialization_context().serialize(features).to_bytes()


def _peak_bytes() -> int:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def steps_table(results: list[dict[str, Any]]) -> str:
    """A line a step, and columns for each number of shards."""
    columns = ["step"]
    for result in results:
        columns += [f"{result['shards']:,} shards: CPU s", "s", "MB"]
    lines = []
    for name, title in STEPS.items():
        line = [title]
        for result in results:
            step = result["steps"][name]
            line += [f"{step['cpu']:.2f}", f"{step['wall']:.1f}", f"{max(step['bytes'], 0) / 1e6:,.0f}"]
        lines.append(line)
    lines.append(["most memory of the process, MB", *(part for one in results for part in ("", "", _mb(one["peak"])))])
    sent = (("", "", _mb(one["steps"]["job"]["sent"])) for one in results)
    lines.append(["bytes of the features as a job carries them, MB", *(part for one in sent for part in one)])
    return table(columns, lines)


def _mb(count: float) -> str:
    return f"{count / 1e6:,.1f}"


@click.command(help=__doc__)
@click.option("--docs", type=click.Path(path_type=Path), help="Folder of scaling.md.")
@click.option("--shards", default="1500,6000,24000", show_default=True, help="Sizes, separated by commas.")
@click.option("--one", type=int, help="Measure one size in this process and print it as JSON.")
@click.option("--profile", type=click.Path(path_type=Path), help="With --one: write a profile of the driver here.")
def main(docs: Path | None, shards: str, one: int | None, profile: Path | None) -> None:
    if one is not None:
        click.echo(json.dumps(measure(one, profile)))
        return
    results = []
    for size in shards.split(","):
        made = subprocess.run([sys.executable, __file__, "--one", size], stdout=subprocess.PIPE, check=True, text=True)
        results.append(json.loads(made.stdout.splitlines()[-1]))
        click.echo(made.stdout.splitlines()[-1])
    filled = steps_table(results)
    click.echo(filled)
    if docs is not None:
        fill(docs / "scaling.md", {"driver": filled})


if __name__ == "__main__":
    main()
