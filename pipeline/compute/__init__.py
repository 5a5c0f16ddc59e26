"""Who does the work: extraction, training, proxies and picks, as plain classes that actors and one process share.

What is named here needs no PyTorch: a driver only says what it wants done.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from asvp.compute.extraction import Extraction
from asvp.compute.jobs import Done, FineTuneJob, Handle, Held, HeldWeights, Job, TrainedModel, Weights
from asvp.config import EncoderConfig, TrainingConfig
from asvp.features.feature_set import FeatureSet

__all__ = [
    "Backend",
    "Done",
    "Extraction",
    "FineTuneJob",
    "Handle",
    "Held",
    "HeldWeights",
    "Job",
    "TrainedModel",
    "Weights",
]


class Backend(Protocol):
    """What the driver needs done; `InProcessBackend` does it here, `PoolBackend` has workers do it.

    Every method waits for its result, and may be called from several threads.
    """

    def extract(self, extraction: Extraction, weights: Weights | None = None) -> FeatureSet:
        """Features of all rows of a source."""
        ...

    def train(self, job: FineTuneJob) -> TrainedModel:
        """A model trained from the pre-trained weights."""
        ...

    def do(self, job: Job) -> Done[Any]:
        """Whatever else a round needs."""
        ...

    def beside(self) -> Backend | None:
        """The same for work that no loop waits for, which goes after all other; None where nobody else could do it."""
        ...

    def resolve(self) -> EncoderConfig:
        """What the encoder is where they work, where its configuration says `auto`."""
        ...

    def team_size(self, training: TrainingConfig) -> int:
        """How many of them train a model together, where the configuration says `auto`; ConfigError or ClusterError
        where that is not possible.
        """
        ...

    def machine(self) -> dict[str, Any]:
        """What they work on, for the record."""
        ...

    def round_closed(self, record: Mapping[str, Any]) -> None:
        """Hear of a finished round, as in rounds.jsonl, once."""
        ...
