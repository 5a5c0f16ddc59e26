"""What workers are tried on, before a pool of them is started."""

from __future__ import annotations

from dataclasses import dataclass

from asvp.compute.jobs import EncoderSpec
from asvp.config import TrainingConfig
from asvp.data.source import Source


@dataclass(frozen=True)
class Probe:
    """Work like that of the sweep, to try workers on.

    Attributes
    ----------
    encoder : EncoderSpec
    source : Source
        Of the pool's rows.
    training : TrainingConfig
    classes : int
    """

    encoder: EncoderSpec
    source: Source
    training: TrainingConfig
    classes: int
