"""Descriptions of the encoder's work and of its results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from asvp.config import TrainingConfig
from asvp.data.source import Source
from asvp.features.cache import content_key
from asvp.models.proxy import Head

Arrays = Mapping[str, NDArray[Any]]
TrainingMethod = Literal["ft", "lp_ft", "lp"]


class Weights(Protocol):
    """A handle to an encoder's weights, wherever they lie.

    Attributes
    ----------
    fingerprint : str
        The key of the job that made them.
    """

    @property
    def fingerprint(self) -> str: ...

    def load(self) -> Arrays:
        """The weights by name."""
        ...


@dataclass(frozen=True)
class HeldWeights:
    """Weights held in this process."""

    fingerprint: str
    arrays: Arrays

    def load(self) -> Arrays:
        """The weights themselves."""
        return self.arrays


@dataclass(frozen=True)
class FineTuneJob:
    """A training from the pre-trained weights, named by everything its result depends on.

    Attributes
    ----------
    method : {"ft", "lp_ft", "lp"}
    rows : ndarray of shape (n,), int64
        Labelled rows of `source`, ascending; their order in training comes from the seed.
    labels : ndarray of shape (n,), int64
    classes : int
        C.
    encoder : str
        Fingerprint of the pre-trained encoder.
    """

    method: TrainingMethod
    source: Source
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    classes: int
    training: TrainingConfig
    seed: int
    encoder: str

    @property
    def key(self) -> str:
        """Equal for work with an equal result."""
        settings = self.training.model_dump(exclude={"method", "evaluate_at"})
        return content_key(
            "fine-tune",
            self.encoder,
            self.source.digest(),
            self.rows.tolist(),
            self.labels.tolist(),
            self.classes,
            self.method,
            settings,
            self.seed,
        )


@dataclass(frozen=True)
class TrainedModel:
    """What a job makes.

    Attributes
    ----------
    key : str
        Of the job.
    head : Head
    weights : Weights or None
        None: the encoder kept its pre-trained weights (a linear probe).
    seconds : float
        Wall seconds the work took when it was done.
    reused : bool
        Whether it was done before and only looked up.
    """

    key: str
    method: str
    head: Head
    weights: Weights | None
    seconds: float
    reused: bool = False
