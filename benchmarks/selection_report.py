"""Tables and figures of the selection benchmark, put into the documentation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from selection_plots import plot_costs, plot_growth

Record = dict[str, Any]


def write_report(out: Path, docs: Path) -> None:
    """Replace what stands between <!-- NAME --> and <!-- /NAME --> in selection.md and strategies.md."""
    records = _read(out / "results.jsonl")
    latest: dict[tuple[Any, ...], Record] = {}
    for record in records:
        latest[record["part"], record["name"], record.get("axis"), record.get("size")] = record
    parts: dict[str, list[Record]] = {}
    for record in latest.values():
        parts.setdefault(record["part"], []).append(record)
    tables = {
        "strategies": _strategies(parts.get("strategies", [])),
        "rivals": _rivals(parts.get("rivals", [])),
        "growth": _growth(parts.get("growth", [])),
        "axes": _axes(parts.get("axes", [])),
        "peers": _peers(parts.get("peers", [])),
        "scale": _scale(parts.get("scale", [])),
    }
    fill(docs / "selection.md", tables)
    plot_costs(parts.get("strategies", []), docs / "figures" / "selection-costs.png")
    plot_growth(parts.get("growth", []), docs / "figures" / "selection-growth.png")
    if (out / "quality.jsonl").exists():
        fill(docs / "strategies.md", {"quality": _quality(_read(out / "quality.jsonl"))})


def _read(file: Path) -> list[Record]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def fill(file: Path, tables: dict[str, str]) -> None:
    """Put tables between their markers in a document."""
    text = file.read_text()
    for name, table in tables.items():
        begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        if table and begin in text:
            head, rest = text.split(begin, 1)
            text = f"{head}{begin}\n\n{table}\n\n{end}{rest.split(end, 1)[1]}"
    file.write_text(text)


def table(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|" + "|".join(["---"] + ["---:"] * (len(header) - 1)) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _strategies(records: list[Record]) -> str:
    rows = [[record["name"], f"{record['cpu']:.2f}", f"{record['extra_mb']:.0f}"] for record in records]
    return table(["strategy", "CPU seconds", "extra MB"], rows) if rows else ""


def _rivals(records: list[Record]) -> str:
    rows = []
    for record in records:
        plain = record.get("numpy64")
        agreement = (
            f"mean potential at 100 picks {record['potential'][0]:.4f} ± {record['potential'][1]:.4f}, by passes "
            f"{record['potential_passes'][0]:.4f} ± {record['potential_passes'][1]:.4f}, same distribution with "
            f"p = {record['potential_equal']:.2f}; first pick "
            f"{'equal' if record['first_pick_agrees'] else 'differs'}"
            if record["name"] == "badge"
            else f"{record['agrees_float64']:.1%} of picks equal to float64 passes "
            f"(float32 passes: {record['agrees_float32']:.1%})"
        )
        rows.append(
            [
                record["name"],
                f"{record['lazy']:.2f}",
                f"{record['passes']:.2f} ({record['passes'] / record['lazy']:.0f}x)",
                f"{plain:.2f} ({plain / record['lazy']:.0f}x)" if plain else "",
                f"{record['extra_mb']:.0f} of {record['features_mb']:.0f}",
                agreement,
            ]
        )
    header = ["strategy", "here", "pass a pick, torch", "NumPy float64", "extra MB of features' MB", "agreement"]
    return table(header, rows) if rows else ""


def _growth(records: list[Record]) -> str:
    rows = []
    for name in dict.fromkeys(record["name"] for record in records):
        for axis in dict.fromkeys(record["axis"] for record in records if record["name"] == name):
            found = sorted(
                (record for record in records if record["name"] == name and record["axis"] == axis),
                key=lambda record: record["size"],
            )
            rows.append(
                [
                    name,
                    axis,
                    ", ".join(f"{record['size']:,}" for record in found),
                    ", ".join(f"{record['cpu']:.3f}" for record in found),
                    ", ".join(f"{record['extra_mb']:.0f}" for record in found),
                ]
            )
    return table(["strategy", "what grows", "sizes", "CPU seconds", "extra MB"], rows) if rows else ""


def _axes(records: list[Record]) -> str:
    by_name: dict[str, dict[str, Record]] = {}
    for record in records:
        by_name.setdefault(record["name"], {})[record["axis"]] = record
    axes = ["rows", "picks", "numbers in a row", "classes"]
    rows = [
        [name, _amount(found[""])]
        + [f"{_amount(found[axis])} ({found[axis]['cpu'] / found['']['cpu']:.1f}x)" for axis in axes]
        for name, found in by_name.items()
    ]
    return table(["strategy", "base", *(f"4 times the {axis}" for axis in axes)], rows) if rows else ""


def _amount(record: Record) -> str:
    return f"{record['cpu']:.3f} s, {record['extra_mb']:.0f} MB"


def _peers(records: list[Record]) -> str:
    rows = [
        [
            record["name"],
            f"{record['cpu']:.3f}",
            f"{record['peer_cpu']:.2f} ({record['peer_cpu'] / record['cpu']:.0f}x)",
            f"{record['extra_mb']:.0f}",
            f"{record['peer_extra_mb']:.0f}",
            f"{record['same_picks']:.0%}",
        ]
        for record in records
    ]
    header = ["strategy", "here, CPU s", "scikit-activeml, CPU s", "here, extra MB", "its extra MB", "equal picks"]
    return table(header, rows) if rows else ""


def _scale(records: list[Record]) -> str:
    rows = [
        [record["name"], f"{record['size']:,}", f"{record['cpu']:.1f}", f"{record['extra_mb']:.0f}"]
        for record in records
    ]
    return table(["strategy", "picks", "CPU seconds", "extra MB"], rows) if rows else ""


def _quality(records: list[Record]) -> str:
    tables = []
    for budget, rows in dict.fromkeys((record["budget"], record["rows"]) for record in records):
        chosen = [record for record in records if (record["budget"], record["rows"]) == (budget, rows)]
        curves = {
            name: np.array([record["accuracy"] for record in chosen if record["name"] == name])
            for name in dict.fromkeys(record["name"] for record in chosen)
        }
        baseline = curves["random"].mean() if "random" in curves else np.nan
        lines = [
            [
                name,
                str(len(curve)),
                f"{curve[:, 0].mean():.3f}",
                f"{curve[:, -1].mean():.3f} ± {curve[:, -1].std():.3f}",
                f"{curve.mean():.4f}",
                f"{curve.mean() - baseline:+.4f}",
            ]
            for name, curve in sorted(curves.items(), key=lambda item: -item[1].mean())
        ]
        header = ["strategy", "seeds", "first round", "last round", "mean over rounds", "against random"]
        tables.append(f"Budget {budget}, {rows:,} pool rows:\n\n" + table(header, lines))
    return "\n\n".join(tables)
