"""The models of a run, made of the labels bought so far and booked where they are made."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asvp.compute import Backend, FineTuneJob, TrainedModel
from asvp.compute.jobs import TrainingMethod
from asvp.config import Config
from asvp.data import Dataset
from asvp.features.feature_set import Features
from asvp.models.proxy import Proxy, fit_proxy
from asvp.progress import Reporter
from asvp.record.labelled import LabelledSet, Rows
from asvp.record.ledger import Ledger, Stage
from asvp.seeds import derive_seed

Floats = NDArray[np.floating]


class ModelMaker:
    """Fits proxies and trains encoders on a labelled set, with seeds that depend on the run's alone.

    Parameters
    ----------
    config : Config
    dataset : Dataset
    backend : Backend
    encoder : str
        Fingerprint of the pre-trained encoder.
    ledger : Ledger
    reporter : Reporter
    """

    def __init__(
        self, config: Config, dataset: Dataset, backend: Backend, encoder: str, ledger: Ledger, reporter: Reporter
    ) -> None:
        self._config = config
        self._dataset = dataset
        self._backend = backend
        self._encoder = encoder
        self._ledger = ledger
        self._reporter = reporter

    def proxy(self, pool: Features, labelled: LabelledSet, number: int, purpose: str) -> Proxy:
        """A proxy on all labels, with a seed of its own for each purpose and round."""
        features, width = pool.gather(labelled.rows), pool.parts[-1].dim
        return self.proxy_on(features, labelled.labels, number, purpose, width, moments=(pool.mean, pool.std))

    def proxy_on(
        self,
        features: Floats,
        labels: Rows,
        number: int,
        purpose: str,
        width: int,
        *,
        moments: tuple[Floats, Floats] | None = None,
    ) -> Proxy:
        """A proxy on features of rows with their labels, seeded as `proxy`.

        Parameters
        ----------
        features : ndarray of shape (n, D), floating
        labels : ndarray of shape (n,), int64
        number : int
            Of the round.
        purpose : str
        width : int
            What `proxy.hidden: auto` is: the features of one version, also where two lie side by side.
        moments : pair of ndarray of shape (D,), optional
            Mean and standard deviation to standardise with; None: those of the rows.
        """
        mean, std = moments or (None, None)
        config = self._config.proxy
        return fit_proxy(
            features,
            labels,
            classes=len(self._dataset.classes),
            config=config.model_copy(update={"hidden": [width if one == "auto" else one for one in config.hidden]}),
            seed=derive_seed(self._config.seed, purpose, number),
            mean=mean,
            std=std,
        )

    def train(
        self, method: TrainingMethod, labelled: LabelledSet, stage: Stage, *, present: TrainedModel | None
    ) -> TrainedModel:
        """A model on the labels given; if the present one was made by an equal job, it is that one."""
        rows, labels = labelled.ascending()
        job = FineTuneJob(
            method=method,
            source=self._dataset.pool,
            rows=rows,
            labels=labels,
            classes=len(self._dataset.classes),
            training=self._config.training,
            seed=derive_seed(self._config.seed, "train"),
            encoder=self._encoder,
        )
        if present is not None and present.key == job.key:
            return present
        held = {"cpus": self._backend.cpus, "gpus": self._backend.gpus}
        with self._ledger.stage(stage, **held):
            self._reporter.say(f"Training ({method}) on {len(rows):,} labels")
            model = self._backend.train(job)
        if model.reused:
            self._ledger.charge(stage, model.seconds, **held)
        return model

    def final_method(self, refreshes: int) -> TrainingMethod:
        """What `training.method: auto` is: LP-FT before the first refresh, FT after it, LP without an encoder."""
        method = self._config.training.method
        if method != "auto":
            return method
        if self._dataset.kind == "features":
            return "lp"
        return "ft" if refreshes else "lp_ft"
