"""How many workers share a GPU: measured on a little of the encoder's own training and extraction, and remembered."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ray
from ray.exceptions import RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from asvp.actors.broker import Grant
from asvp.actors.cluster import gpu_nodes
from asvp.actors.desk import Desk
from asvp.actors.pool import worker_pool
from asvp.actors.shards import DIED, ObjectStoreValue, unwrap
from asvp.compute.jobs import ExtractionOrder, FineTuneJob, ShardJob, TrainingOrder
from asvp.compute.placement import Placement
from asvp.compute.probe import Probe
from asvp.config import WorkersConfig
from asvp.data.source import excerpt
from asvp.errors import DeviceMemoryError
from asvp.features.cache import Cache, CacheEntry, content_key
from asvp.progress import Reporter, SilentReporter

COUNTS = (1, 2, 4, 8)
"""Workers a GPU that are compared."""
_BATCHES = 4
_EXTRACTED = 1024
_GAIN = 1.05
"""More workers have to be faster by this factor: each takes memory, and time to start."""
_HEAD_ROOM = 0.8
_CONTEXT_BYTES = 600 << 20
"""What a process holds of a GPU beside its tensors."""


def with_packing(workers: WorkersConfig, probe: Probe, cache: Cache | None, reporter: Reporter) -> WorkersConfig:
    """The same with `per_gpu: auto` as what is fastest on the GPUs that are here.

    Without GPUs, for ready-made features, and where the configuration decides, nothing is measured.
    """
    there = gpu_nodes()
    if not there or workers.gpus != "auto" or workers.per_gpu != "auto" or probe.encoder.kind == "features":
        return workers
    cores = int(min(node.cpus / node.gpus for node in there))
    counts = [count for count in COUNTS if count <= max(1, cores)]
    if probe.training.devices not in (1, "auto"):
        # Who trains together needs a GPU each.
        counts = [1]
    if len(counts) == 1:
        return workers.model_copy(update={"per_gpu": 1})
    entry = _memory(cache, probe, sorted({node.kind for node in there}), cores)
    found = _recall(entry)
    if found is None:
        reporter.say(f"Measuring how many workers should share a GPU: {', '.join(map(str, counts))}")
        rates = _measure(probe, counts, cores)
        found = fastest(rates)
        told = ", ".join(f"{count}: {rate:.2f} tries/s" for count, rate in rates.items())
        reporter.say(f"{found} worker{'' if found == 1 else 's'} a GPU ({told})")
        if entry is not None:
            entry.describe(
                {"what": f"{found} workers a GPU, measured for {probe.encoder.config.model}", "found": found}
            )
    return workers.model_copy(update={"per_gpu": found})


def fastest(rates: dict[int, float]) -> int:
    """The fewest workers that are about as fast as the fastest; 1 where nothing was measured."""
    best = max(rates.values(), default=0.0)
    return min((count for count, rate in rates.items() if rate * _GAIN >= best), default=1)


def compare(counts: Sequence[int], rate: Callable[[int], float | None], most: Callable[[], int]) -> dict[int, float]:
    """Rates of ascending counts, up to the first that does not fit or that memory forbids.

    Parameters
    ----------
    rate : callable
        Tries a second of so many workers together; None where they do not fit.
    most : callable
        How many fit in memory, known once one has worked.
    """
    rates: dict[int, float] = {}
    for count in counts:
        if rates and count > most():
            break
        found = rate(count)
        if found is None:
            break
        rates[count] = found
    return rates


def _measure(probe: Probe, counts: Sequence[int], cores: int) -> dict[int, float]:
    workers = max(counts)
    placement = Placement(workers, cores / workers, 1.0 / workers)
    # On one GPU, whatever others there are.
    group = placement_group([{"GPU": 1, "CPU": cores}])
    strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=0)
    try:
        with worker_pool(placement, strategy=strategy) as pool:
            desk = Desk(pool.broker, SilentReporter())
            tries = _Tries(probe)
            with desk.several(workers) as grants:
                rates = compare(counts, lambda count: tries.rate(grants[:count]), lambda: tries.most(grants[0]))
            desk.close()
            return rates
    except DIED:
        return {}
    finally:
        remove_placement_group(group)


class _Tries:
    """A small training and a small extraction, done by some workers at the same time."""

    def __init__(self, probe: Probe) -> None:
        rows = min(len(probe.source), _BATCHES * probe.training.batch_size)
        chosen = np.unique(np.linspace(0, len(probe.source) - 1, rows).astype(np.int64))
        training = probe.training.model_copy(update={"epochs": 1, "method": "ft"})
        labels = np.arange(len(chosen), dtype=np.int64) % probe.classes
        job = FineTuneJob("ft", probe.source, chosen, labels, probe.classes, training, 0, "probe")
        self._training = ray.put(TrainingOrder(job.sent(), probe.encoder))
        self._shard = ShardJob(0, 0, min(len(probe.source), _EXTRACTED), "float32")
        first = excerpt(probe.source, np.arange(self._shard.stop))
        self._order = ExtractionOrder("probe", ObjectStoreValue(ray.put(first)), probe.encoder)
        self._warm: set[str] = set()

    def rate(self, grants: Sequence[Grant]) -> float | None:
        """Tries a second of these workers together; None if they do not fit on the GPU."""
        try:
            fresh = [grant for grant in grants if grant.ticket not in self._warm]
            # The first try of a process pays for loading and for CUDA.
            ray.get([call for grant in fresh for call in self._calls(grant)])
            self._warm |= {grant.ticket for grant in fresh}
            began = time.perf_counter()
            ray.get([call for grant in grants for call in self._calls(grant)])
        except RayTaskError as error:
            cause = unwrap(error)
            if isinstance(cause, DeviceMemoryError):
                return None
            raise cause from None
        return len(grants) / (time.perf_counter() - began)

    def most(self, grant: Grant) -> int:
        """How many workers fit in the GPU's memory, after one has worked."""
        peak, total = ray.get(grant.worker.memory.remote())
        return int(_HEAD_ROOM * total / (peak + _CONTEXT_BYTES)) if total else max(COUNTS)

    def _calls(self, grant: Grant) -> list[Any]:
        trained = grant.worker.train.options(num_returns=2).remote(self._training, grant.share)[1]
        extracted = grant.worker.extract.options(num_returns=2).remote(self._order, self._shard, grant.share)[1]
        return [trained, extracted]


def _memory(cache: Cache | None, probe: Probe, kinds: Sequence[str], cores: int) -> CacheEntry | None:
    """Where the measurement of an encoder with its settings on GPUs like these is kept."""
    if cache is None:
        return None
    settings = probe.training.model_dump(mode="json", include={"batch_size", "augment"})
    encoder = probe.encoder.config.model_dump(mode="json", exclude={"trust_remote_code"})
    return cache.entry("packings", content_key("packing", encoder, probe.encoder.kind, settings, list(kinds), cores))


def _recall(entry: CacheEntry | None) -> int | None:
    found = None if entry is None else entry.description().get("found")
    if found not in COUNTS or entry is None:
        return None
    entry.touch()
    return int(found)
