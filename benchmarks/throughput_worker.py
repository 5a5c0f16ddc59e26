"""Extraction as a worker of the pool does it, without the pool."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from asvp.actors.extraction import _IN_FLIGHT
from asvp.compute.bench import Bench
from asvp.compute.jobs import EncoderSpec, ExtractionOrder, Held, ShardJob
from asvp.spent import Share


def as_a_worker(encoder: EncoderSpec, source: Any, shard: int, device: str) -> Callable[[], None]:
    """What extracts all rows of a source: the `Bench` of a worker, called from as many threads as a worker has calls.

    Parameters
    ----------
    encoder : EncoderSpec
    source : Source
        N rows.
    shard : int
        Rows of a shard.
    device : {"cpu", "cuda"}
        Of which, and of PyTorch's threads, the worker has all.
    """
    bench = Bench(device)
    order = ExtractionOrder("benchmark", Held(source), encoder)
    share = Share(float(torch.get_num_threads()), 1.0 if device == "cuda" else 0.0)
    starts = range(0, len(source), shard)
    shards = [ShardJob(place, start, min(start + shard, len(source)), "float32") for place, start in enumerate(starts)]
    # Always the same threads, as in a worker: each keeps buffers of its own.
    hands = ThreadPoolExecutor(_IN_FLIGHT)

    def work() -> None:
        for _ in hands.map(lambda job: bench.extract(order, job, share), shards):
            pass

    return work
