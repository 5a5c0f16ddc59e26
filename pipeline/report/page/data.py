"""What the page holds as data: one mapping, a key a section, everything plain JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asvp.report.comparison import Comparison
from asvp.report.curves import by_arm, learning_curves
from asvp.report.page.repriced import amounts, can_reprice, prices_of
from asvp.report.page.rows import rows_section
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn, redrawn
from asvp.report.savings import default_targets, savings
from asvp.report.tables import Table

DRAW_BYTES = 2_000_000
"""What the draws of test rows may add to the page."""
_MOST_CONFIGS = 60


def page_data(comparison: Comparison) -> dict[str, Any]:
    """Everything the page shows, by section; names are as they are, whoever shows them escapes them."""
    records = comparison.records
    finished = [run for run in records if run.finished]
    drawn = redrawn(finished)
    return {
        "answer": {"text": comparison.verdict.text, "notes": list(comparison.notes)},
        "compared": _compared(records),
        "arms": list(by_arm(records)),
        "curves": [_curve(one) for one in learning_curves(records)],
        "model": _model(records, drawn),
        "savings": _savings(finished, drawn),
        "rankings": _table(comparison.rankings),
        "armTable": _table(comparison.arms),
        "sampling": _sampling(records),
        "indicator": _indicator(records),
        "classes": _classes(records),
        "trials": [_trial(run) for run in records],
        "repeat": _repeat(records),
        "rows": rows_section(records),
    }


def _table(table: Table) -> dict[str, Any]:
    return {"title": table.title, "columns": table.columns, "rows": table.rows, "note": table.note}


def _curve(curve: Any) -> dict[str, Any]:
    return {
        "arm": curve.arm,
        "refreshed": curve.refreshed_at,
        "points": [[one.labelled, one.mean, one.low, one.high, len(one.values)] for one in curve.points],
    }


def _model(records: Sequence[RunRecord], drawn: Redrawn | None) -> dict[str, Any]:
    """What the browser needs to charge other prices and to answer again."""
    finished = [run for run in records if run.finished]
    size = sum(len(run.accuracies("final")) for run in finished)
    draws = 0 if drawn is None or not size else min(1000, DRAW_BYTES // (2 * size))
    counted = next((len(rows) for run in finished for rows in run.correct.values()), 0)
    scale = counted if 0 < counted <= 20_000 else 65_535
    prices = prices_of(records)
    arms = {arm: i for i, arm in enumerate(by_arm(records))}
    return {
        "prices": None if prices is None else vars(prices),
        "can": can_reprice(records),
        "draws": draws,
        "scale": scale,
        "runs": [
            {
                "arm": arms[run.arm],
                "seed": run.seed,
                "finished": run.finished,
                "stopped": run.stopped,
                "rounds": amounts(run),
                "finals": run.accuracies("final"),
                "draws": _packed(drawn, run, draws, scale) if draws and run.finished else None,
            }
            for run in records
        ],
    }


def _packed(drawn: Redrawn | None, run: RunRecord, draws: int, scale: int) -> str | None:
    if drawn is None or not run.accuracies("final"):
        return None
    return base64.b64encode(np.rint(drawn.curves(run)[:draws] * scale).astype("<u2").tobytes()).decode()


def _savings(finished: Sequence[RunRecord], drawn: Redrawn | None) -> list[dict[str, Any]]:
    return [
        {
            "arm": one.arm,
            "target": one.target,
            "labels": dict(one.labels),
            "dollars": dict(one.dollars),
            "ratio": dict(one.ratio),
            "seeds": one.seeds,
            "atMost": bool(one.at_most),
            "saved": None if one.saved is None else [one.saved.mean, one.saved.low, one.saved.high],
        }
        for one in savings(finished, default_targets(finished), redrawn=drawn)
    ]


def _sampling(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Mean seconds of a run by stage, an entry an arm."""
    return [
        {
            "arm": arm,
            "seconds": {stage: sum(run.total("seconds", stage) for run in runs) / len(runs) for stage in _stages(runs)},
        }
        for arm, runs in by_arm(records).items()
    ]


def _stages(runs: Sequence[RunRecord]) -> list[str]:
    return list(dict.fromkeys(stage for run in runs for one in run.rounds for stage in one.get("seconds") or {}))


def _indicator(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    return [
        {
            "arm": run.arm,
            "seed": run.seed,
            "threshold": (run.config.get("refresh") or {}).get("threshold"),
            "refreshed": [one["labelled"] for one in run.rounds if one.get("refreshed")],
            "points": [
                [one["labelled"], one.get("logme"), one.get("logme_ped")]
                for one in run.rounds
                if one.get("logme") is not None or one.get("logme_ped") is not None
            ],
        }
        for run in records
        if any(one.get("logme") is not None or one.get("logme_ped") is not None for one in run.rounds)
    ]


def _classes(records: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Share of the picks and recall of each class, an entry an arm; recall where summaries have it."""
    found = []
    for arm, runs in by_arm(records).items():
        picks: dict[str, float] = {}
        for run in runs:
            for name, count in run.picks.items():
                picks[name] = picks.get(name, 0.0) + count / sum(run.picks.values())
        with_picks = sum(bool(run.picks) for run in runs)
        recalls = [told for run in runs if isinstance(told := (run.summary or {}).get("recall"), Mapping)]
        names = dict.fromkeys(name for told in recalls for name in told)
        recall = {name: [told[name] for told in recalls if told.get(name) is not None] for name in names}
        found.append(
            {
                "arm": arm,
                "picks": {name: share / with_picks for name, share in picks.items()},
                "recall": {name: sum(values) / len(values) for name, values in recall.items() if values},
            }
        )
    return found


def _trial(run: RunRecord) -> dict[str, Any]:
    state = "finished" if run.finished else "stopped early" if run.stopped else "not finished"
    finals = run.accuracies("final")
    return {
        "arm": run.arm,
        "seed": run.seed,
        "state": state,
        "reason": _reason(run),
        "rounds": len(run.rounds),
        "labels": run.labelled,
        "accuracy": finals[-1][1] if finals else None,
        "computed": sum(run.total("seconds", stage) for stage in _stages([run])) - run.total("saved_seconds"),
        "reused": run.total("saved_seconds"),
        "cost": run.total("cost", "total"),
    }


def _reason(run: RunRecord) -> str:
    told = run.path / "stopped.json"
    if run.finished or not run.stopped or not told.is_file():
        return ""
    try:
        found = json.loads(told.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return "stopped.json cannot be read"
    return str(found.get("reason") or found.get("why") or "") if isinstance(found, dict) else ""


def _compared(records: Sequence[RunRecord]) -> list[list[str]]:
    """What was compared, a row a fact; what runs do not tell is said."""
    environments = [_environment(run) for run in records]
    devices = {", ".join(map(_gpu, one.get("gpus") or [])) or str(one.get("processor", "")) for one in environments}
    seeds = sorted({run.seed for run in records})
    facts = {
        "Data": {_short(run.config.get("data")) for run in records},
        "Encoder": {_short(run.config.get("encoder")) for run in records},
        "Budget": {f"{run.planned:,} labels" for run in records if run.planned},
        "Arms": {f"{len(by_arm(records))}"},
        "Seeds": {", ".join(map(str, seeds))},
        "Runs": {f"{len(records)}, {sum(run.finished for run in records)} finished"},
        "Devices": devices - {""},
        "Dates": {str(one["started"]) for one in environments if one.get("started")},
    }
    return [[name, "; ".join(sorted(values)) or "not told by these runs"] for name, values in facts.items()]


def _gpu(one: Any) -> str:
    return str(one.get("name", one)) if isinstance(one, Mapping) else str(one)


def _short(section: Any) -> str:
    if not isinstance(section, Mapping):
        return ""
    told = {
        key: value for key, value in section.items() if key in ("name", "source", "dataset", "path", "kind", "model")
    }
    return ", ".join(str(value) for value in told.values() if value is not None)


def _environment(run: RunRecord) -> dict[str, Any]:
    try:
        found = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _repeat(records: Sequence[RunRecord]) -> dict[str, Any]:
    """Versions and one resolved configuration an arm, which `asvp run` takes."""
    arms = by_arm(records)
    versions = {json.dumps(_environment(run).get("packages") or {}, sort_keys=True) for run in records}
    return {
        "versions": [json.loads(one) for one in sorted(versions)],
        "configs": [
            {"arm": arm, "seeds": [run.seed for run in runs], "config": dict(runs[0].config)}
            for arm, runs in list(arms.items())[:_MOST_CONFIGS]
        ],
        "leftOut": max(0, len(arms) - _MOST_CONFIGS),
    }
