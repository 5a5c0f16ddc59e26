"""What the page holds as data: one mapping, a key a section, everything plain JSON."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from asvp.files import parse_json
from asvp.redaction import redact, redacted
from asvp.report.baseline import baseline_of
from asvp.report.curves import by_arm, learning_curves
from asvp.report.intervals import Interval
from asvp.report.page.beside import Beside
from asvp.report.page.indicator import indicator_section
from asvp.report.page.repriced import amounts, can_reprice, prices_of
from asvp.report.page.rows import rows_section
from asvp.report.page.trials import trials_section
from asvp.report.records import RunRecord
from asvp.report.redrawn import Redrawn
from asvp.report.savings import default_targets, savings
from asvp.report.verdict import Verdict

DRAW_BYTES = 1_300_000
"""What the draws of test rows may add to the page, in base64."""
_MOST_CONFIGS = 60


def page_data(
    records: Sequence[RunRecord],
    answer: Verdict,
    notes: Sequence[str],
    drawn: Redrawn | None,
    beside: Beside,
) -> dict[str, Any]:
    """Everything the page shows, by section; names are as they are, whoever shows them escapes them.

    Parameters
    ----------
    records : sequence of RunRecord
    answer : Verdict
    notes : sequence of str
        What a reader has to know.
    drawn : Redrawn or None
        The finished runs on other draws of test rows.
    beside : Beside
    """
    finished = [run for run in records if run.finished]
    return {
        "answer": {**_answer(answer), "notes": [redact(one) for one in notes]},
        "compared": _compared(records),
        "arms": list(by_arm(records)),
        "baseline": baseline_of(records),
        "curves": [_curve(one) for one in learning_curves(records)],
        "model": _model(records, drawn),
        "savings": _savings(finished, drawn, baseline_of(records)),
        "sampling": _sampling(records),
        "indicator": indicator_section(records),
        "classes": _classes(records),
        "trials": trials_section(records, beside.states),
        "repeat": _repeat(records, beside),
        "rows": rows_section(records),
    }


def _answer(answer: Verdict) -> dict[str, Any]:
    """The answer at the prices that were paid, as `answer` in verdict.js gives it for others."""
    return {
        "text": answer.text,
        "rankings": [
            {
                "amount": one.amount,
                "best": one.best,
                "accuracy": _interval(one.accuracy),
                "behind": [
                    {
                        "arm": other.arm,
                        "accuracy": other.accuracy,
                        "difference": other.difference and _interval(other.difference),
                        "apart": other.told_apart,
                    }
                    for other in one.behind
                ],
            }
            for one in answer.rankings
        ],
    }


def _interval(one: Interval) -> dict[str, Any]:
    return {"mean": one.mean, "low": one.low, "high": one.high, "seeds": one.seeds}


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
    draws = 0 if drawn is None or not size else min(1000, 3 * DRAW_BYTES // (8 * size))
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


def _savings(finished: Sequence[RunRecord], drawn: Redrawn | None, baseline: str | None) -> list[dict[str, Any]]:
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
        for one in savings(finished, default_targets(finished), baseline=baseline, redrawn=drawn)
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


def _compared(records: Sequence[RunRecord]) -> list[list[str]]:
    """What was compared, a row a fact; what runs do not tell is said."""
    environments = [_environment(run) for run in records]
    devices = {", ".join(map(_gpu, one.get("gpus") or [])) or str(one.get("processor", "")) for one in environments}
    seeds = sorted({run.seed for run in records})
    facts = {
        "Data": {_short(run.config.get("data")) for run in records} - {""},
        "Encoder": {_short(run.config.get("encoder")) for run in records} - {""},
        "Budget": {f"{run.planned:,} labels" for run in records if run.planned},
        "Arms": {f"{len(by_arm(records))}"},
        "Seeds": {", ".join(map(str, seeds))},
        "Runs": {f"{len(records)}, {sum(run.finished for run in records)} finished"},
        "Devices": devices - {""},
        "Last round written": _written(records),
    }
    told = {name: redact("; ".join(sorted(values))) for name, values in facts.items()}
    return [[name, value or "not told by these runs"] for name, value in told.items()]


def _written(records: Sequence[RunRecord]) -> set[str]:
    """The first and the last day on which a run's rounds were written."""
    files = [run.path / "rounds.jsonl" for run in records]
    days = sorted(
        datetime.fromtimestamp(file.stat().st_mtime, UTC).date().isoformat() for file in files if file.is_file()
    )
    return {f"{days[0]} to {days[-1]}" if days[0] != days[-1] else days[0]} if days else set()


def _gpu(one: Any) -> str:
    return str(one.get("name", one)) if isinstance(one, Mapping) else str(one)


def _short(section: Any) -> str:
    if not isinstance(section, Mapping):
        return ""
    told = {key: value for key, value in section.items() if key in ("pool", "test", "name", "model", "backbone")}
    return ", ".join(dict.fromkeys(str(value) for value in told.values() if value is not None))


def _environment(run: RunRecord) -> dict[str, Any]:
    try:
        found = parse_json((run.path / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _repeat(records: Sequence[RunRecord], beside: Beside) -> dict[str, Any]:
    """What was called, versions, and one resolved configuration an arm, which `asvp run` takes; all without secrets."""
    arms = by_arm(records)
    versions = {json.dumps(_environment(run).get("packages") or {}, sort_keys=True) for run in records}
    return {
        "commands": [
            {"folder": folder, "calls": [[one.at, one.asvp, one.command] for one in calls]}
            for folder, calls in beside.commands.items()
        ],
        "versions": [json.loads(one) for one in sorted(versions)],
        "configs": [
            {"arm": arm, "seeds": [run.seed for run in runs], "config": redacted(runs[0].config)}
            for arm, runs in list(arms.items())[:_MOST_CONFIGS]
        ],
        "leftOut": max(0, len(arms) - _MOST_CONFIGS),
    }
