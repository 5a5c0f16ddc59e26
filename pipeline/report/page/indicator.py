"""The indicator's course, for the page: of each run what its policy compares with its threshold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asvp.config.thresholds import LOGME_FALL, LOGME_PED_GAP, READING_NOISE
from asvp.report.records import RunRecord

_DEFAULTS = {"logme": LOGME_FALL, "logme_ped": LOGME_PED_GAP}
"""Thresholds where `refresh.threshold` is null; other policies compare no reading with anything."""


def indicator_section(records: Sequence[RunRecord]) -> dict[str, Any]:
    """The readings of each run that has some, and what its policy compares with its threshold.

    Parameters
    ----------
    records : sequence of RunRecord

    Returns
    -------
    dict
        `noise`: how far a gap must clear its threshold for one reading to count. `runs`: an entry a run, with `points`
        of labels, LogME, LogME-PED, the gap LogME-PED - LogME, and how far LogME lies below its best earlier reading on
        the same features (None where that is not known); `policy`, which is logme (compares the fall), logme_ped (the
        gap) or None (compares neither); and its `threshold`. A reading is of before its round's refresh.
    """
    runs = [_course(run) for run in records]
    return {"noise": READING_NOISE, "runs": [one for one in runs if one["points"]]}


def _course(run: RunRecord) -> dict[str, Any]:
    policy, threshold = _compared(run.config)
    return {
        "arm": run.arm,
        "seed": run.seed,
        "policy": policy,
        "threshold": threshold,
        "refreshed": [one["labelled"] for one in run.rounds if one.get("refreshed")],
        "points": _points(run.rounds),
    }


def _compared(config: Mapping[str, Any]) -> tuple[str | None, float | None]:
    """The policy that compares readings with a threshold, and that threshold; None where none does."""
    refresh = config.get("refresh")
    if config.get("mode") != "asvp" or not isinstance(refresh, Mapping) or refresh.get("policy") not in _DEFAULTS:
        return None, None
    policy, given = str(refresh["policy"]), refresh.get("threshold")
    return policy, float(given) if isinstance(given, (int, float)) else _DEFAULTS[policy]


def _points(rounds: Sequence[Mapping[str, Any]]) -> list[list[float | None]]:
    points: list[list[float | None]] = []
    best: dict[int, float] = {}
    for one in rounds:
        logme, logme_ped = one.get("logme"), one.get("logme_ped")
        if logme is None and logme_ped is None:
            continue
        gap = None if logme is None or logme_ped is None else logme_ped - logme
        # The round that refreshes tells of the version after it.
        version = int(one.get("feature_version") or 0) - bool(one.get("refreshed"))
        fall = None
        if logme is not None:
            fall = best[version] - logme if version in best else None
            best[version] = max(logme, best.get(version, logme))
        points.append([one["labelled"], logme, logme_ped, gap, fall])
    return points
