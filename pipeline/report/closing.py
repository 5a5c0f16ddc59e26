"""The tables that close a run, and the list of strategies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from pipeline.report.tables import Table, dollars, duration

if TYPE_CHECKING:
    from pipeline.selection.contract import StrategyInfo

_RUN_NOTE = (
    "Proxy: accuracy on the test rows of the small model that scores the pool. Final: of the encoder trained on all "
    "labels so far. Sampling: all the time that went into choosing rows, refreshes included."
)


def run_table(rounds: Iterable[Mapping[str, Any]]) -> Table:
    """One row a round, from the objects of rounds.jsonl."""
    records = list(rounds)
    return Table(
        title="Rounds",
        columns=("round", "labels", "features", "proxy", "final", "sampling", "training", "cost"),
        rows=tuple(
            (
                str(record["round"]),
                f"{record['labelled']:,}",
                f"v{record['feature_version']}{' (refreshed)' if record['refreshed'] else ''}",
                _share(record["proxy_accuracy"]),
                _share(record["final_accuracy"]) + (f" {record['final_method']}" if record["final_method"] else ""),
                duration(record["sampling_seconds"]),
                duration(record["training_seconds"]),
                dollars(record["cost"]["total"]),
            )
            for record in records
        ),
        numbers=tuple(dict(record) for record in records),
        note=_RUN_NOTE,
    )


def strategy_table(strategies: Mapping[str, StrategyInfo]) -> Table:
    """One row a strategy, from their records."""
    infos = strategies.values()
    return Table(
        title="Strategies (selection.strategy)",
        columns=("name", "picks", "needs", "first round", "complexity", "paper"),
        rows=tuple(
            (
                info.name,
                info.summary,
                _needs(info),
                "yes" if info.cold_start else "",
                info.complexity,
                info.paper,
            )
            for info in infos
        ),
        numbers=tuple(
            {
                "name": info.name,
                "summary": info.summary,
                "inputs": list(info.inputs),
                "representation": info.representation,
                "cold_start": info.cold_start,
                "options": info.options.model_json_schema()["properties"] if info.options.model_fields else {},
                "complexity": info.complexity,
                "paper": info.paper,
            }
            for info in infos
        ),
        note="First round: can pick before anything is labelled (selection.cold_start).",
    )


def _needs(info: StrategyInfo) -> str:
    names = [f"{info.representation} features" if name == "features" else name for name in info.inputs]
    return ", ".join(names) or "nothing"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
