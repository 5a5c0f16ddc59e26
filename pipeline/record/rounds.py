"""The objects that tell of a run: one a round (rounds.jsonl), and the summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asvp.compute.evaluation import Evaluation
from asvp.config import Config


def summarise(
    config: Config, rounds: Sequence[Mapping[str, Any]], evaluation: Evaluation, totals: Mapping[str, Any]
) -> dict[str, Any]:
    """The object of summary.json.

    Parameters
    ----------
    config : Config
    rounds : sequence of mapping
        Objects of all rounds.
    evaluation : Evaluation
        Of the final model on all labels.
    totals : mapping
        Of the ledger.
    """
    last = rounds[-1]
    return {
        "mode": config.mode,
        "strategy": config.selection.strategy,
        "seed": config.seed,
        "rounds": len(rounds),
        "refreshes": last["feature_version"],
        "refreshed_at": [record["labelled"] for record in rounds if record["refreshed"]],
        "final_method": last["final_method"],
        "final_accuracy": evaluation.accuracy,
        "final_macro_f1": evaluation.macro_f1,
        "recall": evaluation.recall,
        **totals,
    }
