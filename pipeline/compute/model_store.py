"""Fine-tuned models in the cache, so that identical work is done once."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from safetensors import SafetensorError
from safetensors.numpy import load, save

from asvp.compute.jobs import Arrays, FineTuneJob, HeldWeights, TrainedModel
from asvp.errors import CacheError
from asvp.features.cache import Cache, CacheEntry, DamagedPartError
from asvp.models.proxy import Head
from asvp.progress import Reporter


def find_model(job: FineTuneJob, cache: Cache | None) -> TrainedModel | None:
    """The result of a job that was done before, or None."""
    if cache is None:
        return None
    entry = cache.entry("models", job.key)
    parts = entry.parts()
    if "head" not in parts or ("weights" not in parts and job.method != "lp"):
        return None
    try:
        head = load(_bytes(entry, "head"))
        weights = None if job.method == "lp" else HeldWeights(job.key, load(_bytes(entry, "weights")))
        classifier = Head(head["weight"], head["bias"])
    except (DamagedPartError, SafetensorError, KeyError):
        return None
    seconds = float(entry.description().get("seconds", 0.0))
    entry.describe(entry.description())
    return TrainedModel(job.key, job.method, classifier, weights, seconds, reused=True)


def keep_model(trained: TrainedModel, cache: Cache | None, reporter: Reporter) -> None:
    """Store a result; a cache that cannot be written is told of and costs nothing but the reuse."""
    if cache is None:
        return
    entry = cache.entry("models", trained.key)
    try:
        if trained.weights is not None:
            entry.write("weights", save(_contiguous(trained.weights.load())), "safetensors")
        entry.write("head", save({"weight": trained.head.weight, "bias": trained.head.bias}), "safetensors")
        entry.describe({"what": f"fine-tuned encoder ({trained.method})", "seconds": trained.seconds})
    except CacheError as error:
        reporter.say(f"The model is not cached: {error}")


def _bytes(entry: CacheEntry, part: str) -> bytes:
    buffer: pa.Buffer = entry.read(part)
    data: bytes = buffer.to_pybytes()
    return data


def _contiguous(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
