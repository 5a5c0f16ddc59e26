"""Pools of workers for one test, started with it and gone after it, and what they extract."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import worker_pool
from asvp.compute.jobs import EncoderSpec
from asvp.compute.placement import Placement
from asvp.config import Config
from asvp.features import FeatureSet
from asvp.features.cache import Cache
from asvp.progress import Reporter, SilentReporter


@contextmanager
def backend_of(
    config: Config, workers: int = 1, cache: Cache | None = None, reporter: Reporter | None = None, **rest: float
) -> Iterator[PoolBackend]:
    """The one driver of a pool whose workers hold a core each."""
    with worker_pool(Placement(workers, 1.0, 0.0), **rest) as pool:
        backend = PoolBackend(pool, EncoderSpec(config.encoder, "text"), cache, reporter or SilentReporter())
        try:
            yield backend
        finally:
            backend.close()


def whole(features: FeatureSet) -> np.ndarray:
    """The features of all rows, (N, D)."""
    return features.span(0, len(features))
