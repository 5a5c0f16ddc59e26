"""The tables that close a run, and the list of strategies."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table as RichTable
from rich.text import Text

from asvp.report.tables import Table, dollars, duration

if TYPE_CHECKING:
    from asvp.features.cache import EntryInfo
    from asvp.selection.contract import StrategyInfo

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


def strategy_records(strategies: Mapping[str, StrategyInfo], package_of: Callable[[str], str]) -> list[dict[str, Any]]:
    """The records of the strategies as plain values, with the package that each is of."""
    return [
        {
            "name": name,
            "package": package_of(name),
            "summary": info.summary,
            "inputs": list(info.inputs),
            "representation": info.representation,
            "cold_start": info.cold_start,
            "sharded": info.sharded,
            "options": info.options.model_json_schema()["properties"] if info.options.model_fields else {},
            "complexity": info.complexity,
            "paper": info.paper,
        }
        for name, info in strategies.items()
    ]


def strategy_list(strategies: Mapping[str, StrategyInfo], package_of: Callable[[str], str]) -> RichTable:
    """The strategies for a terminal: what each picks, and below it what it needs, costs and comes from."""
    table = RichTable(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, info in strategies.items():
        first = "; can make the first picks" if info.cold_start else ""
        table.add_row(name, Text(info.summary))
        sharded = "; looks at rows where their shards lie" if info.sharded else ""
        table.add_row("", Text(f"needs {_needs(info)}{first}{sharded}; {info.complexity}", style="dim"))
        for option, field in info.options.model_fields.items():
            default = "" if field.is_required() else f" = {field.get_default(call_default_factory=True)}"
            table.add_row("", Text(f"option {option}{default}: {field.description}", style="dim"))
        added = "" if package_of(name) == "asvp" else f" (added by {package_of(name)})"
        table.add_row("", Text(f"{info.paper}{added}", style="dim italic"))
    return table


def cache_table(entries: Iterable[EntryInfo]) -> Table:
    """One row an entry of the cache."""
    infos = list(entries)
    return Table(
        title="Cache",
        columns=("key", "what", "files", "size", "last used"),
        rows=tuple(
            (
                info.key,
                str(info.description.get("what", info.kind)),
                str(info.parts),
                f"{info.nbytes / 1e6:,.1f} MB",
                time.strftime("%Y-%m-%d %H:%M", time.localtime(info.used)) if info.used else "",
            )
            for info in infos
        ),
        numbers=tuple(vars(info) for info in infos),
        note=f"{len(infos)} entries, {sum(info.nbytes for info in infos) / 1e6:,.1f} MB",
    )


def _needs(info: StrategyInfo) -> str:
    names = [f"{info.representation} features" if name == "features" else name for name in info.inputs]
    return ", ".join(names) or "nothing"


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
