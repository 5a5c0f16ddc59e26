"""The current feature version of a run, pool and test, and its change at a refresh."""

from __future__ import annotations

import gc
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from asvp.compute import Backend, Extraction, TrainedModel, Weights
from asvp.config import ExtractionConfig
from asvp.data import Dataset
from asvp.data.source import Source, excerpt
from asvp.driver.job_names import extraction_name
from asvp.features.cache import content_key
from asvp.features.feature_set import Features, FeatureSet
from asvp.features.side_by_side import SideBySide
from asvp.record.job_log import JobLog
from asvp.record.ledger import Ledger, Stage

_Rows = Literal["pool", "labelled", "test"]


@dataclass(frozen=True)
class VersionZero:
    """Features of the pre-trained encoder that somebody made already, for this run to share."""

    pool: FeatureSet
    test: FeatureSet


class FeatureVersions:
    """Holds the features that rows are chosen on, and books what making them costs.

    One version at a time; with `keep_first` version 0 stays, and a later one is read side by side with it.

    Parameters
    ----------
    dataset : Dataset
    backend : Backend
    config : ExtractionConfig
    encoder : str
        Fingerprint of the pre-trained encoder.
    ledger : Ledger
    jobs : JobLog
    chooses : bool
        Whether anything looks at the features to choose rows or to decide on a refresh. Where nothing does (random
        picks), the proxy on them is for the report alone, and so is their cost.
    keep_first : bool
        Whether a refresh keeps the pre-trained features beside the new ones.

    Attributes
    ----------
    pool, test : Features
        What proxies and strategies look at.
    """

    pool: Features
    test: Features

    def __init__(
        self,
        dataset: Dataset,
        backend: Backend,
        config: ExtractionConfig,
        encoder: str,
        ledger: Ledger,
        jobs: JobLog,
        *,
        chooses: bool = True,
        keep_first: bool = False,
    ) -> None:
        self.encoder = encoder
        self._dataset = dataset
        self._backend = backend
        self._config = config
        self._ledger = ledger
        self._jobs = jobs
        # Test rows are encoded for the report in any case.
        self._stages: dict[str, Stage] = {
            "pool": "extract" if chooses else "evaluate",
            "labelled": "extract",
            "test": "evaluate",
        }
        self._weights: Weights | None = None
        self._keep_first = keep_first
        self._first: VersionZero | None = None

    def share(self, features: VersionZero) -> None:
        """Take over version 0; it is charged as if this run had made it."""
        self._first = features if self._keep_first else None
        self.pool, self.test = features.pool, features.test
        for which, shared in (("pool", features.pool), ("test", features.test)):
            # Who made them is told where they were made.
            self._charge(which, replace(shared, saved=shared.spent, spans=()))

    def make(self, version: int, model: TrainedModel | None, first: VersionZero | None = None) -> None:
        """Make a version in place of the present one, whose shards are dropped first.

        Parameters
        ----------
        version : int
        model : TrainedModel, optional
            Whose weights make the features; None: the pre-trained ones.
        first : VersionZero, optional
            Version 0, where it is there already and is to stay beside the new version.
        """
        self.__dict__.pop("pool", None)
        self.__dict__.pop("test", None)
        # Whatever still holds the old version in a cycle would keep its shards beside the new ones.
        gc.collect()
        if self._keep_first and self._first is None:
            self._first = first or VersionZero(self._extract("pool", 0, None), self._extract("test", 0, None))
        self._weights = None if model is None else model.weights
        if version == 0 and self._first is not None:
            self.pool, self.test = self._first.pool, self._first.test
        else:
            self.pool = self._beside_first("pool", self._extract("pool", version, self._weights))
            self.test = self._beside_first("test", self._extract("test", version, self._weights))

    def keys(self) -> frozenset[str]:
        """Keys of the present features in the cache; none where no features were needed, as for a finished run."""
        present = (vars(self).get("pool"), vars(self).get("test"))
        return frozenset(part.fingerprint for features in present if features is not None for part in features.parts)

    def tests(self) -> dict[str | None, FeatureSet]:
        """Features of the test rows that are there, by the fingerprint of the weights that made them alone."""
        there = {_fingerprint(self._weights): self.test.parts[-1]}
        return there if self._first is None else {None: self._first.test, **there}

    def of_rows(self, rows: NDArray[np.int64], model: TrainedModel) -> FeatureSet:
        """What a refresh with a model would make of some pool rows, ascending, before all others are made."""
        source = excerpt(self._dataset.pool, rows)
        return self._extract("labelled", self.pool.version + 1, model.weights, source)

    @property
    def first(self) -> FeatureSet | None:
        """The pool's features of the pre-trained encoder, where they stay beside new ones."""
        return None if self._first is None else self._first.pool

    def _beside_first(self, which: Literal["pool", "test"], made: FeatureSet) -> Features:
        return made if self._first is None else SideBySide(getattr(self._first, which), made)

    def _extract(self, which: _Rows, version: int, weights: Weights | None, source: Source | None = None) -> FeatureSet:
        encoder = encoder_with(self.encoder, weights)
        if source is None:
            source = self._dataset.test if which == "test" else self._dataset.pool
        with self._ledger.away() as away:
            features = self._backend.extract(Extraction(source, encoder, version, self._config, title=which), weights)
        self._charge(which, features, away.seconds)
        return features

    def _charge(self, which: str, made: FeatureSet, seconds: float = 0.0) -> None:
        stage = self._stages[which]
        self._ledger.charge(stage, made.spent, saved=made.saved)
        self._jobs.note(extraction_name(which), stage, len(made), seconds=seconds, **made.costs())


def encoder_with(encoder: str, weights: Weights | None) -> str:
    """Fingerprint of an encoder with other weights than the pre-trained ones (None)."""
    return encoder if weights is None else content_key(encoder, weights.fingerprint)


def _fingerprint(weights: Weights | None) -> str | None:
    return None if weights is None else weights.fingerprint
