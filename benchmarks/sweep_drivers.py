"""What the process of one trial takes: private memory and start-up, alone and eight at a time. Run by sweep.py driver.

It imports nothing of asvp before it is told which version's module of trials to import.
"""

from __future__ import annotations

import json
import os
import pickle
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import psutil
import pyarrow as pa
import ray

NEW = "asvp.tune_spaces.trainable"


class _Trial:
    """A process as Ray Tune starts one; told what to import and what to fetch, it says what each step took."""

    def __init__(self) -> None:
        self._told: list[dict[str, Any]] = []

    def bare(self) -> list[dict[str, Any]]:
        """Nothing but Ray, which imports what its worker needs."""
        self._note("bare")
        return self._told

    def begin(self, module: str, given: dict[str, Any], name: str) -> list[dict[str, Any]]:
        """Do what a trial does before its first round."""
        import importlib

        self._note("bare")
        importlib.import_module(module)
        self._note("imported")
        parameters = {key: ray.get(reference) for key, reference in given.items()}
        self._note("fetched")
        if "pool" in parameters:
            from asvp.actors.backend import PoolBackend
            from asvp.progress import SilentReporter

            one = parameters["prepared"][name]
            self._backend = PoolBackend(parameters["pool"], one.encoder, None, SilentReporter(), name)
            self._backend.machine()
            self._note("at the broker")
            self._features = parameters["features"][name].pool
            self._tables = [shard.table() for shard in self._features.shards]
        else:
            self._tables = [ray.get(reference) for reference in parameters["tables"]]
        self._note("attached")
        self._told[-1]["torch"] = "torch" in sys.modules
        return self._told

    def read(self) -> list[dict[str, Any]]:
        """Read every feature once, through views."""
        for table in self._tables:
            column = table.column("feature").chunk(0)
            column.flatten().to_numpy(zero_copy_only=True).sum()
        self._note("read all")
        return self._told

    def _note(self, step: str) -> None:
        process = psutil.Process()
        used, times = process.memory_full_info(), process.cpu_times()
        age = time.time() - process.create_time()
        self._told.append(
            {"step": step, "uss": used.uss, "rss": used.rss, "cpu": times.user + times.system, "age": age}
        )


Trial: Any = ray.remote(_Trial)


def main() -> None:
    """Measure what the JSON in the first argument says; the last line printed is the answer."""
    told = json.loads(sys.argv[1])
    ray.init(
        address="local",
        num_cpus=told["cores"],
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        object_store_memory=int(told["features"] * 1.5) + (256 << 20),
    )
    try:
        with _given(told) as given:
            answers = {str(count): _measure(told["module"], given, count) for count in told["counts"]}
            sizes = {key: len(pickle.dumps(ray.get(reference))) for key, reference in given.items()}
    finally:
        ray.shutdown()
    print(json.dumps({"drivers": answers, "pickled_bytes": sizes}))


@contextmanager
def _given(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a trial is given: here everything, of an older version the tables alone."""
    rows = told["features"] // told["shards"] // (4 * told["dim"])
    tables = [_table(rows, told["dim"], number * rows) for number in range(told["shards"])]
    references = [ray.put(table) for table in tables]
    if told["module"] != NEW:
        yield {"tables": ray.put(references)}
        return
    from sweep_broker import sleeping_pool

    from asvp.actors.shards import ObjectStoreShard
    from asvp.compute.jobs import ShardJob
    from asvp.config import load_config
    from asvp.driver.feature_versions import VersionZero
    from asvp.driver.preparation import prepare
    from asvp.features.feature_set import FeatureSet
    from asvp.features.moments import Moments

    prepared = prepare(load_config(told["config"], ["extraction.cache=null"]))
    shards = tuple(
        ObjectStoreShard(reference, ShardJob(number, number * rows, (number + 1) * rows, "float32"))
        for number, reference in enumerate(references)
    )
    starts = tuple(range(0, rows * (told["shards"] + 1), rows))
    moments = Moments.of(np.zeros((2, told["dim"]), np.float32))
    features = FeatureSet(0, shards, starts, told["dim"], "float32", "benchmark", moments)
    names = [f"trial-{number}" for number in range(max(told["counts"]))]
    with sleeping_pool(1, gpus=0.0, cpus=0.1) as pool:
        yield {
            "prepared": ray.put({name: prepared for name in names}),
            "features": ray.put({name: VersionZero(features, features) for name in names}),
            "pool": ray.put(pool),
        }


def _table(rows: int, dim: int, first: int) -> pa.Table:
    features = np.random.default_rng(first).random(rows * dim, dtype=np.float32)
    column = pa.FixedSizeListArray.from_arrays(pa.array(features), dim)
    return pa.table({"row": np.arange(first, first + rows, dtype=np.int64), "feature": column})


def _measure(module: str, given: dict[str, Any], count: int) -> dict[str, Any]:
    """So many at the same time: what they tell, and seconds from the request until each was ready."""
    empty, bare = _together(count, lambda actor, number: actor.bare.remote())
    for actor in bare:
        ray.kill(actor)
    steps, actors = _together(count, lambda actor, number: actor.begin.remote(module, given, f"trial-{number}"))
    read = ray.get([actor.read.remote() for actor in actors])
    for actor in actors:
        ray.kill(actor)
    last = [told[-1] for told in steps["told"]]
    return {
        "bare_seconds": empty["seconds"],
        "bare_uss": [told[-1]["uss"] for told in empty["told"]],
        "bare_cpu": [told[-1]["cpu"] for told in empty["told"]],
        "ready_seconds": steps["seconds"],
        "ready_uss": [one["uss"] for one in last],
        "ready_cpu": [one["cpu"] for one in last],
        "torch": any(one["torch"] for one in last),
        "read_uss": [told[-1]["uss"] for told in read],
        "steps": {
            one["step"]: {
                "uss": statistics.median(told[place]["uss"] for told in read),
                "cpu": statistics.median(told[place]["cpu"] for told in read),
                "age": statistics.median(told[place]["age"] for told in read),
            }
            for place, one in enumerate(read[0])
        },
    }


def _together(count: int, ask: Any) -> tuple[dict[str, Any], list[Any]]:
    began = time.perf_counter()
    actors = [Trial.options(num_cpus=0, memory=1 << 20).remote() for _ in range(count)]
    waiting = {ask(actor, number): number for number, actor in enumerate(actors)}
    seconds, told = [0.0] * count, [None] * count
    pending = list(waiting)
    while pending:
        ready, pending = ray.wait(pending, num_returns=1)
        number = waiting[ready[0]]
        seconds[number] = time.perf_counter() - began
        told[number] = ray.get(ready[0])
    return {"seconds": seconds, "told": told}, actors


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="asvp-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        os.environ["RAY_TMPDIR"] = folder
        main()
