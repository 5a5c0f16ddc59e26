"""What a machine has, and how fast it encodes: measured on a small sample."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from asvp.config import EncoderConfig
from asvp.data.source import rows_named
from asvp.driver.prepared import Prepared
from asvp.errors import DeviceMemoryError
from asvp.models.encoder import Encoder
from asvp.models.threads import cpu_threads
from asvp.models.training.finetune import fine_tune

_SAMPLE_ROWS = 128
_SHARED_MEMORY_OF_RAY = 0.3
_STEPS = 3
"""Of the training that is tried; the first sets things up, and is not counted."""
_STEP_SECONDS = 2.0
"""About what one of them may take."""
_TRAINED = 1 << 30
"""Bytes of weights up to which a training is tried: with gradients and the optimiser's state it needs four times that.
"""
_STEP_IN_FORWARD_PASSES = 3.0
"""What a step of a larger encoder is taken to cost: a forward pass and twice that for the gradients."""


@dataclass(frozen=True)
class Speed:
    """Measured on a small sample of the pool, in this process.

    Attributes
    ----------
    dim : int
        Of a feature.
    rows_per_second, trained_per_second : float or None
        Rows encoded, and rows in an epoch of a fine-tune, by one thread or the GPU; None: no encoder works, or
        it was not asked for.
    encoder : EncoderConfig
        What it became here.
    weights_bytes : int
    """

    dim: int
    rows_per_second: float | None
    trained_per_second: float | None
    encoder: EncoderConfig
    weights_bytes: int = 0


def measure_speed(prepared: Prepared, *, training: bool = True) -> Speed:
    """Feature width, and rows a second of one worker's thread, encoded and, if asked for, trained on."""
    dataset = prepared.dataset
    sample = np.unique(np.linspace(0, len(dataset.pool) - 1, min(_SAMPLE_ROWS, len(dataset.pool))).astype(np.int64))
    taken = dataset.pool.take(sample)
    if isinstance(taken, np.ndarray):
        return Speed(int(taken.shape[1]), None, None, prepared.config.encoder)
    with cpu_threads(1):
        encoder = Encoder.load(prepared.config.encoder, dataset.kind)
        with rows_named(dataset.pool, sample):
            encoder.encode(taken)
        began = time.perf_counter()
        encoder.encode(taken)
        rate = len(taken) / max(time.perf_counter() - began, 1e-9)
        weights = sum(array.nbytes for array in encoder.state().values())
        tried = _trained_per_second(encoder, taken, prepared, rate) if training and weights <= _TRAINED else None
    trained = (tried or rate / _STEP_IN_FORWARD_PASSES) if training else None
    return Speed(encoder.dim, rate, trained, encoder.resolved(), weights)


def _trained_per_second(
    encoder: Encoder, taken: list[str] | list[bytes], prepared: Prepared, rate: float
) -> float | None:
    """Rows of an epoch a second in a fine-tune, of which a few steps are done; None where memory is too small."""
    config = prepared.config.training
    affordable = int(rate / _STEP_IN_FORWARD_PASSES * _STEP_SECONDS)
    batch = min(config.batch_size, len(taken) // _STEPS, max(affordable, 2))
    if batch < 1:
        return None
    classes, stamps = len(prepared.dataset.classes), []

    def stamp(done: int, steps: int) -> None:
        if encoder.device.type == "cuda":
            torch.cuda.synchronize()
        stamps.append(time.perf_counter())

    rows = taken[: batch * _STEPS]
    config = config.model_copy(update={"epochs": 1, "batch_size": batch})
    try:
        fine_tune(encoder, rows, np.arange(len(rows)) % classes, classes=classes, config=config, seed=0, on_step=stamp)
    except DeviceMemoryError:
        return None
    counted = len(stamps) - 1
    return batch * counted / max(stamps[-1] - stamps[0], 1e-9) if counted > 0 else None


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
