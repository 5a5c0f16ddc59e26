"""What a machine has, and how fast it encodes: measured on a small sample."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from asvp.config import EncoderConfig
from asvp.data.source import rows_named
from asvp.driver.prepared import Prepared
from asvp.models.encoder import Encoder
from asvp.models.threads import cpu_threads

_SAMPLE_ROWS = 128
_SHARED_MEMORY_OF_RAY = 0.3


@dataclass(frozen=True)
class Speed:
    """Measured on a small sample of the pool, in this process."""

    dim: int
    rows_per_second: float | None
    encoder: EncoderConfig
    weights_bytes: int = 0


def measure_speed(prepared: Prepared) -> Speed:
    """Feature width, and rows a second of one worker's thread."""
    dataset = prepared.dataset
    sample = np.unique(np.linspace(0, len(dataset.pool) - 1, min(_SAMPLE_ROWS, len(dataset.pool))).astype(np.int64))
    taken = dataset.pool.take(sample)
    if isinstance(taken, np.ndarray):
        return Speed(int(taken.shape[1]), None, prepared.config.encoder)
    with cpu_threads(1):
        encoder = Encoder.load(prepared.config.encoder, dataset.kind)
        with rows_named(dataset.pool, sample):
            encoder.encode(taken)
        began = time.perf_counter()
        encoder.encode(taken)
        spent = time.perf_counter() - began
    weights = sum(array.nbytes for array in encoder.state().values())
    return Speed(encoder.dim, len(taken) / max(spent, 1e-9), encoder.resolved(), weights)


def object_store() -> int:
    """Bytes Ray would give the object store of a cluster started here."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    shared = shutil.disk_usage("/dev/shm").free if Path("/dev/shm").exists() else memory
    return int(min(memory * _SHARED_MEMORY_OF_RAY, shared))


def free_disk(place: str | None) -> int | None:
    """Bytes free where a folder lies or will lie; None for none, and for a URI."""
    if place is None or "://" in place:
        return None
    path = Path(os.path.expanduser(place)).absolute()
    return shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.exists())).free
