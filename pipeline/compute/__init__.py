"""Who does the work: extraction, fine-tuning and picking, as plain classes that actors and one process share."""

from __future__ import annotations

from typing import Literal, Protocol

from asvp.compute.extraction import Extraction
from asvp.compute.jobs import FineTuneJob, HeldWeights, TrainedModel, Weights
from asvp.compute.picking import LocalPicker, Picker
from asvp.features.feature_set import Features, FeatureSet
from asvp.selection import Plan

__all__ = [
    "Backend",
    "Extraction",
    "FineTuneJob",
    "HeldWeights",
    "LocalPicker",
    "Picker",
    "TrainedModel",
    "Weights",
]


class Backend(Protocol):
    """What the driver needs done; `InProcessBackend` does it here, `RayBackend` by workers.

    Attributes
    ----------
    cpus, gpus : float
        What they hold all together while they work.
    """

    @property
    def cpus(self) -> float: ...

    @property
    def gpus(self) -> float: ...

    def extract(self, extraction: Extraction, weights: Weights | None = None) -> FeatureSet:
        """Features of all rows of a source."""
        ...

    def train(self, job: FineTuneJob) -> TrainedModel:
        """A model trained from the pre-trained weights."""
        ...

    def picker(self, plan: Plan, features: Features, wanted: bool | Literal["auto"]) -> Picker:
        """Who runs a strategy on these features; `wanted` is the key `selection.sharded`."""
        ...

    def dtype(self) -> str:
        """What `encoder.dtype: auto` is where they work."""
        ...
