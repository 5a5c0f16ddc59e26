"""Fine-tuned models in the cache, so that identical work is done once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors.numpy import load, save

from asvp.compute.jobs import Arrays, FineTuneJob
from asvp.errors import CacheError
from asvp.features.cache import Cache, CacheEntry
from asvp.models.head import Head
from asvp.spent import Spent


def find_model(job: FineTuneJob, cache: Cache) -> tuple[Head, Arrays | None, Spent] | None:
    """The head, the weights and the cost of a job that was done before, or None.

    An entry counts once its description, written last, names its files and what they cost.

    Raises
    ------
    CacheError
        If what is there cannot be read, or is damaged; then it costs the reuse alone.
    """
    entry = cache.entry("models", job.key)
    spent, files = entry.spent(), entry.description().get("files")
    if spent is None or not isinstance(files, dict):
        return None
    head = _head(job, entry, files)
    weights = None if job.method == "lp" else _arrays(entry, "weights", files)
    entry.touch()
    return head, weights, spent


def stored_weights(key: str, cache: Cache) -> Arrays:
    """The weights that were kept under a job's key.

    Raises
    ------
    CacheError
        If they are not there, or cannot be read.
    """
    entry = cache.entry("models", key)
    files = entry.description().get("files")
    return _arrays(entry, "weights", files if isinstance(files, dict) else {})


def holds_weights(key: str, cache: Cache) -> bool:
    """Whether weights are kept under a job's key; they may still turn out to be damaged, or be gone tomorrow."""
    try:
        entry = cache.entry("models", key)
        files = entry.description().get("files")
        return entry.spent() is not None and isinstance(files, dict) and "weights" in files
    except CacheError:
        return False


def keep_model(job: FineTuneJob, head: Head, weights: Arrays | None, spent: Spent, cache: Cache) -> None:
    """Store a result.

    Raises
    ------
    CacheError
        If the cache cannot be written.
    """
    entry = cache.entry("models", job.key)
    files = {}
    if weights is not None:
        files["weights"] = entry.write("weights", save(_contiguous(weights)), "safetensors")
    files["head"] = entry.write("head", save(_contiguous(head.state())), "safetensors")
    # Two processes may have made the same model with other last bits; the names keep what belongs together.
    what = f"fine-tuned encoder ({job.method})"
    # What the work was tells, with what it cost, how long work like it takes here.
    work = {"encoder": job.encoder, "method": job.method, "rows": len(job.rows), "epochs": job.training.epochs}
    entry.describe({"what": what, "seconds": spent.seconds, "spent": spent.as_json(), "files": files, **work})


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
