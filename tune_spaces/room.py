"""Room that a sweep needs: on the disks of cache and sweep directory, and in the object store."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from asvp.compute.placement import Placement
from asvp.driver.prepared import Prepared
from asvp.tune_spaces.behaviour import refreshes
from asvp.tune_spaces.rates import Rates, is_cached
from asvp.tune_spaces.work import ExtractionWork, TrainingWork, Work, each_encoder, shared_by

_ROW_NUMBER_BYTES = 8


@dataclass(frozen=True)
class Sizes:
    """What an encoder's features and weights take.

    Attributes
    ----------
    dim : int
        D.
    weight_bytes : int
        Of a copy of the weights on disk; 0 for ready-made features.
    """

    dim: int
    weight_bytes: int


@dataclass(frozen=True)
class Bytes:
    """Room that a sweep needs at most.

    Attributes
    ----------
    cache, runs : int
        On the disks of the cache and of the sweep directory.
    store : int
        In the object stores of all nodes together.
    """

    cache: int
    runs: int
    store: int


def room_of(
    each: Sequence[Prepared],
    most: Sequence[Work],
    placement: Placement,
    rates: Mapping[Hashable, Rates],
    sizes: Mapping[Hashable, Sizes],
) -> Bytes:
    """Features and models in the cache, final models and checkpoints of runs, versions held at the same time."""
    configs = each_encoder(each)
    a_row = {
        shared: sizes[shared].dim * np.dtype(prepared.config.extraction.feature_dtype).itemsize + _ROW_NUMBER_BYTES
        for shared, prepared in configs.items()
    }
    cache = sum(
        work.rows * a_row[work.encoder] if isinstance(work, ExtractionWork) else _weights(work, sizes)
        for work in most
        if configs[work.encoder].cache is not None and not is_cached(work, rates)
    )
    runs = store = 0
    for shared, prepared in configs.items():
        alike = [one for one in each if shared_by(one.config) == shared]
        refreshing = sum(bool(refreshes(one.config).rounds) for one in alike)
        # A final model each, and the model of the last refresh in a checkpoint.
        runs += (len(alike) + refreshing) * sizes[shared].weight_bytes
        rows = len(prepared.dataset.pool) + len(prepared.dataset.test)
        store += rows * a_row[shared] * (1 + min(refreshing, concurrent(placement)))
    return Bytes(cache, runs, store)


def _weights(work: TrainingWork, sizes: Mapping[Hashable, Sizes]) -> int:
    return 0 if work.method == "lp" else sizes[work.encoder].weight_bytes


def concurrent(placement: Placement) -> int:
    """Trials at work at a time: more drivers than workers, so that while one thinks another has work for a worker."""
    return 2 * placement.workers + 2
