"""A refresh: fine-tune the encoder on the labels bought so far, and see whether the new features help."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from asvp.alignment.verification import hold_out, holdout_share
from asvp.compute import TrainedModel
from asvp.compute.jobs import VerifyJob
from asvp.config import RefreshConfig
from asvp.driver.feature_versions import FeatureVersions
from asvp.driver.model_maker import ModelMaker
from asvp.record.labelled import LabelledSet
from asvp.seeds import derive_seed

_FEWEST_HELD_OUT = 10
"""Below this many rows a difference of accuracies is chance."""


@dataclass(frozen=True)
class Refresh:
    """What a refresh came to.

    Attributes
    ----------
    model : TrainedModel
        Whose weights make the new features.
    kept : bool
        Whether they should take the place of the present ones.
    told : str
        What the held-out rows said; empty where none were held out.
    """

    model: TrainedModel
    kept: bool = True
    told: str = ""


class Refresher:
    """Fine-tunes for a refresh, and verifies it on a share of the labels where one is kept out.

    Parameters
    ----------
    config : RefreshConfig
    models : ModelMaker
    features : FeatureVersions
    seed : int
        The run's.
    """

    def __init__(self, config: RefreshConfig, models: ModelMaker, features: FeatureVersions, seed: int) -> None:
        self._share = holdout_share(config.holdout)
        self._models = models
        self._features = features
        self._seed = seed

    def refresh(self, labelled: LabelledSet, number: int, present: TrainedModel | None) -> Refresh:
        """Fine-tune in round `number`; the features themselves are not made here."""
        held = self._held_out(labelled)
        seen = labelled.only(~held) if held.any() else labelled
        model = self._models.train("ft", seen, "finetune", present=present)
        if held.sum() >= _FEWEST_HELD_OUT:
            return self._verified(model, labelled, held, number)
        unverified = "kept: too few labels were held out to verify it" if self._share else ""
        return Refresh(model, told=unverified)

    def again(self, labelled: LabelledSet, number: int) -> TrainedModel:
        """The model of the refresh in round `number`, out of the cache or trained once more."""
        until = labelled.until(number)
        held = self._held_out(until)
        return self._models.train("ft", until.only(~held) if held.any() else until, "finetune", present=None)

    def _held_out(self, labelled: LabelledSet) -> NDArray[np.bool_]:
        """Rows kept out, chosen in the round they were bought in and for good: no refresh before has seen them either.

        A row that the present features were tuned on would make them look better than they are.
        """
        held = np.zeros(len(labelled), dtype=bool)
        for number in np.unique(labelled.rounds):
            bought = labelled.rounds == number
            seed = derive_seed(self._seed, "hold out", int(number))
            held[bought] = hold_out(labelled.labels[bought], self._share, seed)
        return held

    def _verified(self, model: TrainedModel, labelled: LabelledSet, held: NDArray[np.bool_], number: int) -> Refresh:
        """Compare proxies on the present and on the new features, fitted on the same rows, on those held out."""
        rows, labels = labelled.ascending()
        found = self._models.verify(
            VerifyJob(
                present=self._features.pool,
                first=self._features.first,
                new=self._features.of_rows(rows, model),
                rows=rows,
                labels=labels,
                held=np.isin(rows, labelled.rows[held]),
                classes=self._models.classes,
                config=self._models.proxy_config,
                seed=derive_seed(self._seed, "verify", number),
            )
        )
        return Refresh(model, found.keep, f"{'kept' if found.keep else 'put aside'}: {found}")
