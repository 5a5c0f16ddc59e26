"""What the driver gives a strategy: exactly the inputs that its record asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asvp.compute.scoring import ScoredRows, probability_rows
from asvp.features.feature_set import Features
from asvp.models.proxy import Scorer
from asvp.selection import FeatureRows
from asvp.selection.contract import Plan

Rows = NDArray[np.int64]


def selection_inputs(
    plan: Plan,
    pool: Features,
    labelled: Rows,
    labels: Rows,
    scorer: Scorer | None,
    members: Sequence[Scorer],
    scored: FeatureRows | None = None,
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
    scored : FeatureRows, optional
        The pool's features where models read them best; None: the pool's own.
    """
    given: dict[str, Any] = {"size": len(pool), "labelled": labelled, "raw_features": pool, "features": pool}
    if scorer is None:
        return given
    scored = pool if scored is None else scored
    given |= {"probabilities": probability_rows(scored, scorer), "labels": labels, "scorer": scorer}
    if plan.representation == "proxy":
        both = ScoredRows(scored, scorer)
        given |= {"features": both.hidden, "probabilities": both.probabilities, "head": scorer.last_layer()}
    if "members" in plan.inputs:
        given["members"] = [probability_rows(scored, member) for member in members]
    return given
