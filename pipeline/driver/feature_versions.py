"""The current feature version of a run, pool and test, and its change at a refresh."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from typing import Literal

from asvp.compute import Backend, Extraction, TrainedModel, Weights
from asvp.config import ExtractionConfig
from asvp.data import Dataset
from asvp.features.cache import content_key
from asvp.features.feature_set import FeatureSet
from asvp.record.ledger import Ledger, Stage


@dataclass(frozen=True)
class VersionZero:
    """Features of the pre-trained encoder that somebody made already, for this run to share."""

    pool: FeatureSet
    test: FeatureSet


class FeatureVersions:
    """Holds one version of the features at a time, and books what making it costs.

    Parameters
    ----------
    dataset : Dataset
    backend : Backend
    config : ExtractionConfig
    encoder : str
        Fingerprint of the pre-trained encoder.
    ledger : Ledger
    chooses : bool
        Whether anything looks at the features to choose rows or to decide on a refresh. Where nothing does (random
        picks), the proxy on them is for the report alone, and so is their cost.

    Attributes
    ----------
    pool, test : FeatureSet
    """

    pool: FeatureSet
    test: FeatureSet

    def __init__(
        self,
        dataset: Dataset,
        backend: Backend,
        config: ExtractionConfig,
        encoder: str,
        ledger: Ledger,
        *,
        chooses: bool = True,
    ) -> None:
        self.encoder = encoder
        self._dataset = dataset
        self._backend = backend
        self._config = config
        self._ledger = ledger
        # Test rows are encoded for the report in any case.
        self._stages: dict[str, Stage] = {"pool": "extract" if chooses else "evaluate", "test": "evaluate"}
        self._weights: Weights | None = None

    def share(self, features: VersionZero) -> None:
        """Take over version 0; it is charged as if this run had made it."""
        self.pool, self.test = features.pool, features.test
        self._charge("pool", features.pool.seconds)
        self._charge("test", features.test.seconds)

    def make(self, version: int, model: TrainedModel | None) -> None:
        """Make a version in place of the present one, whose shards are dropped first.

        Parameters
        ----------
        version : int
        model : TrainedModel, optional
            Whose weights make the features; None: the pre-trained ones.
        """
        self.__dict__.pop("pool", None)
        self.__dict__.pop("test", None)
        # Whatever still holds the old version in a cycle would keep its shards beside the new ones.
        gc.collect()
        self._weights = None if model is None else model.weights
        self.pool = self._extract("pool", version, self._weights)
        self.test = self._extract("test", version, self._weights)

    def keys(self) -> frozenset[str]:
        """Keys of the present version in the cache; none where no features were needed, as for a finished run."""
        present = (vars(self).get("pool"), vars(self).get("test"))
        return frozenset(features.fingerprint for features in present if features is not None)

    def test_with(self, weights: Weights | None) -> FeatureSet:
        """Features of the test rows with some weights; those that are there already are not made again."""
        if _fingerprint(weights) == _fingerprint(self._weights):
            return self.test
        return self._extract("test", self.pool.version, weights)

    def _extract(self, which: Literal["pool", "test"], version: int, weights: Weights | None) -> FeatureSet:
        encoder = self.encoder if weights is None else content_key(self.encoder, weights.fingerprint)
        source = self._dataset.pool if which == "pool" else self._dataset.test
        with self._ledger.stage(self._stages[which], cpus=self._backend.cpus, gpus=self._backend.gpus):
            features = self._backend.extract(Extraction(source, encoder, version, self._config, title=which), weights)
        self._charge(which, features.saved_seconds)
        return features

    def _charge(self, which: Literal["pool", "test"], seconds: float) -> None:
        self._ledger.charge(self._stages[which], seconds, cpus=self._backend.cpus, gpus=self._backend.gpus)


def _fingerprint(weights: Weights | None) -> str | None:
    return None if weights is None else weights.fingerprint
