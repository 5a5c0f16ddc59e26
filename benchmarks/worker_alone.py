"""Rows a second and steps a second of one worker of the kind that `auto` makes, with nobody beside it.

    python benchmarks/worker_alone.py --out alone.json

Texts are those of debian_sections, the encoder is MiniLM. The file keeps what is finished when the rest is cut off.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from throughput_measure import write_json

from asvp.actors.backend import PoolBackend
from asvp.actors.cluster import cluster
from asvp.actors.placing import placed
from asvp.actors.pool import worker_pool
from asvp.compute import Extraction, FineTuneJob
from asvp.compute.jobs import EncoderSpec
from asvp.compute.probe import Probe
from asvp.config import load_config
from asvp.data import open_dataset
from asvp.data.source import View
from asvp.features.cache import Cache
from asvp.progress import PlainReporter, SilentReporter

_REPEATS = 3


@click.command(help=__doc__, context_settings={"help_option_names": ["-h", "--help"], "show_default": True})
@click.option("--out", type=click.Path(path_type=Path), required=True, help="File for everything measured, as JSON.")
@click.option("--cache", help="Where it is remembered how many workers share a GPU; default: nowhere.")
@click.option("--rows", default=30_000, help="That are extracted.")
@click.option("--train-rows", default=1024, help="That are trained on.")
@click.option("--train-epochs", default=4, help="Passes over them.")
def main(out: Path, cache: str | None, rows: int, train_rows: int, train_epochs: int) -> None:
    config = load_config("debian-sections", [f"data.limit={rows}", f"training.epochs={train_epochs}"])
    dataset = open_dataset(config.data)
    spec = EncoderSpec(config.encoder, "text")
    told: dict[str, Any] = {"rows": len(dataset.pool)}
    with tempfile.TemporaryDirectory(prefix="asvp-") as name, cluster("local"):
        probe = Probe(spec, dataset.pool, config.training, len(dataset.classes))
        # What is measured of sharing a GPU goes to stderr.
        auto, _ = placed(config.workers, probe, Cache(cache or name), PlainReporter())
        told["auto"] = {"workers": auto.workers, "cpus": auto.cpus, "gpus": auto.gpus}
        with worker_pool(replace(auto, workers=1)) as pool:
            backend = PoolBackend(pool, spec, None, SilentReporter())
            told["dtype"] = backend.resolve().dtype
            told |= _extraction(backend, dataset, config)
            write_json(told, out)
            told |= _training(backend, dataset, config, train_rows)
            write_json(told, out)
            backend.close()


def _extraction(backend: PoolBackend, dataset: Any, config: Any) -> dict[str, Any]:
    few = View(dataset.pool, np.arange(min(128, len(dataset.pool))))
    backend.extract(Extraction(few, "warm-up", 0, config.extraction))
    seconds, busy = [], []
    for _ in range(_REPEATS):
        began = time.perf_counter()
        features = backend.extract(Extraction(dataset.pool, "benchmark", 0, config.extraction))
        seconds.append(time.perf_counter() - began)
        busy.append(features.spent.seconds)
    return {
        "rows_a_second": len(dataset.pool) / statistics.median(seconds),
        "rows_a_busy_second": len(dataset.pool) / statistics.median(busy),
        "extraction_seconds": seconds,
    }


def _training(backend: PoolBackend, dataset: Any, config: Any, count: int) -> dict[str, Any]:
    rows = np.arange(min(count, len(dataset.pool)))
    labels = dataset.oracle.buy(rows)
    job = FineTuneJob("ft", dataset.pool, rows, labels, len(dataset.classes), config.training, 0, "benchmark")
    # The first training pays for what CUDA prepares.
    spent = [backend.train(replace(job, seed=seed)).spent.seconds for seed in range(2)]
    steps = config.training.epochs * math.ceil(len(rows) / config.training.batch_size)
    return {"steps": steps, "steps_a_second": steps / min(spent), "training_seconds": spent}


if __name__ == "__main__":
    main()
