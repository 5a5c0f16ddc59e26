"""The current feature version of a run, pool and test, and its change at a refresh."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.config import ExtractionConfig
from pipeline.data import Dataset
from pipeline.features.cache import content_key
from pipeline.features.feature_set import FeatureSet
from pipeline.ledger import Ledger, Stage
from pipeline.workers import Extraction, TrainedModel, Weights, Workers


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
    workers : Workers
    config : ExtractionConfig
    encoder : str
        Fingerprint of the pre-trained encoder.
    ledger : Ledger

    Attributes
    ----------
    pool, test : FeatureSet
    """

    pool: FeatureSet
    test: FeatureSet

    def __init__(
        self, dataset: Dataset, workers: Workers, config: ExtractionConfig, encoder: str, ledger: Ledger
    ) -> None:
        self.encoder = encoder
        self._dataset = dataset
        self._workers = workers
        self._config = config
        self._ledger = ledger
        self._weights: Weights | None = None

    def share(self, features: VersionZero) -> None:
        """Take over version 0; it is charged as if this run had made it."""
        self.pool, self.test = features.pool, features.test
        self._charge("extract", features.pool.seconds)
        self._charge("evaluate", features.test.seconds)

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
        self._weights = None if model is None else model.weights
        self.pool = self._extract("pool", version, self._weights)
        self.test = self._extract("test", version, self._weights)

    def test_with(self, weights: Weights | None) -> FeatureSet:
        """Features of the test rows with some weights; those that are there already are not made again."""
        if _fingerprint(weights) == _fingerprint(self._weights):
            return self.test
        return self._extract("test", self.pool.version, weights)

    def _extract(self, which: Literal["pool", "test"], version: int, weights: Weights | None) -> FeatureSet:
        # Test rows are encoded for the report alone.
        stage: Stage = "extract" if which == "pool" else "evaluate"
        encoder = self.encoder if weights is None else content_key(self.encoder, weights.fingerprint)
        source = self._dataset.pool if which == "pool" else self._dataset.test
        with self._ledger.stage(stage, cpus=self._workers.cpus, gpus=self._workers.gpus):
            features = self._workers.extract(Extraction(source, encoder, version, self._config, title=which), weights)
        self._charge(stage, features.saved_seconds)
        return features

    def _charge(self, stage: Stage, seconds: float) -> None:
        self._ledger.charge(stage, seconds, cpus=self._workers.cpus, gpus=self._workers.gpus)


def _fingerprint(weights: Weights | None) -> str | None:
    return None if weights is None else weights.fingerprint
