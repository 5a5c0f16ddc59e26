"""Fine-tuned models in the cache, so that identical work is done once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from asvp.compute.jobs import Arrays, FineTuneJob, HeldWeights, TrainedModel
from asvp.errors import CacheError
from asvp.features.cache import Cache, CacheEntry
from asvp.models.proxy import Head
from asvp.progress import Reporter


def find_model(job: FineTuneJob, cache: Cache | None, reporter: Reporter) -> TrainedModel | None:
    """The result of a job that was done before, or None.

    An entry counts once its description, written last, names its files and what they cost; whatever else is wrong with
    the cache costs the reuse alone, and is told.
    """
    if cache is None:
        return None
    entry = cache.entry("models", job.key)
    seconds, files = entry.seconds(), entry.description().get("files")
    if seconds is None or not isinstance(files, dict):
        return None
    try:
        head = _head(job, entry, files)
        weights = None if job.method == "lp" else HeldWeights(job.key, _arrays(entry, "weights", files))
    except CacheError as error:
        reporter.say(f"cache: {error}")
        return None
    entry.touch()
    return TrainedModel(job.key, job.method, head, weights, seconds, reused=True)


def keep_model(trained: TrainedModel, cache: Cache | None, reporter: Reporter) -> None:
    """Store a result; a cache that cannot be written is told of and costs nothing but the reuse."""
    if cache is None:
        return
    entry = cache.entry("models", trained.key)
    files = {}
    try:
        if trained.weights is not None:
            files["weights"] = entry.write("weights", save(_contiguous(trained.weights.load())), "safetensors")
        head = {"weight": trained.head.weight, "bias": trained.head.bias}
        files["head"] = entry.write("head", save(_contiguous(head)), "safetensors")
        # Two processes may have made the same model with other last bits; the names keep what belongs together.
        what = f"fine-tuned encoder ({trained.method})"
        entry.describe({"what": what, "seconds": trained.seconds, "files": files})
    except CacheError as error:
        reporter.say(f"The model is not cached: {error}")


def _head(job: FineTuneJob, entry: CacheEntry, files: Mapping[str, Any]) -> Head:
    arrays = _arrays(entry, "head", files)
    weight, bias = arrays.get("weight"), arrays.get("bias")
    if weight is None or bias is None or weight.ndim != 2 or (len(weight), *bias.shape) != (job.classes, job.classes):
        raise entry.damaged(str(files["head"]), f"is no head for {job.classes} classes")
    return Head(weight, bias)


def _arrays(entry: CacheEntry, part: str, files: Mapping[str, Any]) -> Arrays:
    name = str(files.get(part))
    buffer = entry.read(part, name)
    try:
        return load(buffer.to_pybytes())
    except Exception as error:
        # Whatever safetensors makes of bytes that are not its own.
        raise entry.damaged(name, f"holds no weights: {error}") from None


def _contiguous(arrays: Arrays) -> dict[str, np.ndarray]:
    return {name: np.ascontiguousarray(array) for name, array in arrays.items()}
