"""The actor that looks after the part of a pool on its node: a thin shell around `PoolPart`."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray

from asvp.selection import Pool
from asvp.selection.pool.part import PoolPart


class _SelectionWorker:
    """Holds a part while a selection runs, and answers for it."""

    def __init__(self, threads: int) -> None:
        torch.set_num_threads(threads)
        self._part: PoolPart | None = None

    def open(self, pool: Pool, blocks: NDArray[np.int64]) -> None:
        """Take over some blocks of a pool."""
        self._part = PoolPart(pool, blocks)

    def call(self, method: str, *arguments: Any) -> Any:
        """What a method of the part returns."""
        return getattr(self._part, method)(*arguments)

    def close(self) -> None:
        """Let the part go, and with it the views on its shards."""
        self._part = None
        gc.collect()


SelectionWorker: Any = ray.remote(_SelectionWorker)
"""An actor with one call at a time, in the order they were made."""
