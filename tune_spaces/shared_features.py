"""Version 0 of the features, made once for all trials of a sweep that share it."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import Pool
from asvp.compute import Extraction
from asvp.config import EncoderConfig
from asvp.driver.absolute_paths import with_absolute_paths
from asvp.driver.feature_versions import VersionZero
from asvp.driver.job_names import extraction_name
from asvp.driver.prepared import Prepared
from asvp.features.feature_set import FeatureSet
from asvp.progress import Reporter
from asvp.record.job_log import JobLog
from asvp.tune_spaces.given import Given
from asvp.tune_spaces.space import Trial
from asvp.tune_spaces.work import shared_by


class SharedFeatures:
    """What trials run with: everything resolved, and the features that they share.

    Parameters
    ----------
    pool : Pool
        Of workers.
    reporter : Reporter
    begun_with : mapping of str to EncoderConfig
        What encoders that say `auto` became before, by what trials share (`begun_with`).
    jobs : JobLog
        Of the sweep.
    """

    def __init__(self, pool: Pool, reporter: Reporter, begun_with: Mapping[str, EncoderConfig], jobs: JobLog) -> None:
        self._pool = pool
        self._reporter = reporter
        self._begun_with = begun_with
        self._jobs = jobs
        # Trials are charged for what they share, each in its own ledger.
        self._jobs.round = None
        self._made: dict[str, tuple[Prepared, VersionZero, ray.ObjectRef[Any]]] = {}

    def given(self, one: Prepared) -> Given:
        """What a trial runs with; features are made where none of those before has the same."""
        key = shared_by(one.config)
        if one.config.encoder.left_open(one.dataset.kind) and key in self._begun_with:
            one = one.resolved(self._begun_with[key], one.device)
            key = shared_by(one.config)
        if key not in self._made:
            first, features = self._version_zero(one)
            # The sweep owns it and holds it, so that it outlives every trial.
            self._made[key] = first, features, ray.put((first, features))
        first, _, shared = self._made[key]
        return Given.of(one.resolved(first.config.encoder, first.device), shared)

    def _version_zero(self, prepared: Prepared) -> tuple[Prepared, VersionZero]:
        """What is resolved on the workers, and the features that all trials with this data and encoder share."""
        config, dataset = prepared.config, prepared.dataset
        backend = PoolBackend(self._pool, prepared.encoder, prepared.cache, self._reporter)
        resolved = prepared.resolved_by(backend, backend.machine()).fingerprinted()
        pool_set, test_set = (
            self._extracted(
                backend, Extraction(source, resolved.encoder_fingerprint, 0, config.extraction, title=title)
            )
            for title, source in (("pool", dataset.pool), ("test", dataset.test))
        )
        backend.close()
        return resolved, VersionZero(pool_set, test_set)

    def _extracted(self, backend: PoolBackend, extraction: Extraction) -> FeatureSet:
        began = time.perf_counter()
        made = backend.extract(extraction)
        told = {"seconds": time.perf_counter() - began, **made.costs()}
        self._jobs.note(extraction_name(extraction.title), "extract", len(made), **told)
        return made


def begun_with(trials: Sequence[Trial], prepared: Mapping[str, Prepared]) -> dict[str, EncoderConfig]:
    """What encoders that say `auto` became when trials were begun, by what they share, so that all of them agree."""
    return {
        shared_by(with_absolute_paths(trial.config)): one.config.encoder
        for trial in trials
        if trial.config.encoder.left_open((one := prepared[trial.name]).dataset.kind)
        and not one.config.encoder.left_open(one.dataset.kind)
    }
