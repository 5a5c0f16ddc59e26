"""What a run has come to, and what becomes known in a round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from asvp.alignment.policy import Attempt, Reading
from asvp.compute import Handle, TrainedModel
from asvp.compute.evaluation import Evaluation
from asvp.driver.final_models import FinalModel
from asvp.record.labelled import LabelledSet
from asvp.report.shown_rows import MAP_SCHEMA, SHOWN_SCHEMA


@dataclass
class RunState:
    """Everything that the next round depends on, the features apart.

    Attributes
    ----------
    labelled : LabelledSet
    readings : list of Reading
        Indicators of the finished rounds.
    attempts : list of Attempt
        Refreshes, those that were put aside included.
    model : TrainedModel or None
        The one whose features are current; None: the pre-trained encoder.
    scorer : Handle or None
        To the model that scores the pool; None before the first labels.
    finals : dict of int to FinalModel
        Final models that have arrived and are not in their rounds' objects yet, by the number of the round.
    final : TrainedModel or None
        That of the last round.
    records : list of dict
        Objects of the finished rounds, as in rounds.jsonl.
    correct : dict of int to ndarray of shape (N,), bool
        Which of N test rows the final models of those rounds got right, by labels bought.
    shown, map : Table
        Picks to look at, and a map of the pool, as `asvp.report.shown_rows` has them.
    summary : dict
        Of the finished run; empty before.
    """

    labelled: LabelledSet = field(default_factory=LabelledSet)
    readings: list[Reading] = field(default_factory=list)
    attempts: list[Attempt] = field(default_factory=list)
    model: TrainedModel | None = None
    scorer: Handle[Any] | None = None
    finals: dict[int, FinalModel] = field(default_factory=dict)
    final: TrainedModel | None = None
    records: list[dict[str, Any]] = field(default_factory=list)
    correct: dict[int, NDArray[np.bool_]] = field(default_factory=dict)
    shown: pa.Table = field(default_factory=SHOWN_SCHEMA.empty_table)
    map: pa.Table = field(default_factory=MAP_SCHEMA.empty_table)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def next_round(self) -> int:
        """Number of the first round that is not finished."""
        return len(self.records)


@dataclass
class RoundState:
    """What becomes known in the course of one round.

    Attributes
    ----------
    bought : int
        Labels bought.
    refreshed : bool
    reason : str
        Why the features were, or were not, refreshed.
    logme, logme_ped : float or None
        Indicators, in nats a row, where the policy asked for them.
    proxy : Evaluation or None
        Of the proxy, on the test rows.
    """

    bought: int = 0
    refreshed: bool = False
    reason: str = ""
    logme: float | None = None
    logme_ped: float | None = None
    proxy: Evaluation | None = None
