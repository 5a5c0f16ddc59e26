"""What the driver gives a strategy: exactly the inputs that its record asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asvp.compute.scoring import ScoredRows, probability_rows
from asvp.features.feature_set import Features
from asvp.models.proxy import Scorer
from asvp.selection.contract import Plan

Rows = NDArray[np.int64]


def selection_inputs(
    plan: Plan, pool: Features, labelled: Rows, labels: Rows, scorer: Scorer | None, members: Sequence[Scorer]
) -> dict[str, Any]:
    """Keyword arguments of `asvp.selection.make_pool`.

    Nothing is computed here: probabilities and hidden features are made block by block, when a strategy reads them.

    Parameters
    ----------
    plan : Plan
    pool : Features of N rows
    labelled, labels : ndarray of shape (L,), int64
        Row and class numbers of what was bought, in the same order.
    scorer : Scorer or None
        None before the first labels.
    members : sequence of Scorer
        The ensemble, for strategies that ask for one.
    """
    given: dict[str, Any] = {"size": len(pool), "labelled": labelled, "raw_features": pool, "features": pool}
    if scorer is None:
        return given
    given |= {"probabilities": probability_rows(pool, scorer), "labels": labels, "scorer": scorer}
    if plan.representation == "proxy":
        scored = ScoredRows(pool, scorer)
        given |= {"features": scored.hidden, "probabilities": scored.probabilities, "head": scorer.last_layer()}
    if "members" in plan.inputs:
        given["members"] = [probability_rows(pool, member) for member in members]
    return given
