"""Runs as they would have cost with other prices; the page does the same in the browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from asvp.report.records import RunRecord

PARTS = ("sampling", "training", "evaluation")
_HOUR = 3600.0


@dataclass(frozen=True)
class Prices:
    """Dollars for a label, a GPU-hour and a core-hour."""

    per_label: float
    gpu_hour: float
    cpu_hour: float


def prices_of(records: Sequence[RunRecord]) -> Prices | None:
    """The prices that all runs were charged by; None where they differ or are not told."""
    found = {tuple(run.config.get("cost", {}).get(key) for key in Prices.__annotations__) for run in records}
    if len(found) != 1:
        return None
    told = found.pop()
    return Prices(*map(float, told)) if all(isinstance(one, (int, float)) for one in told) else None


def can_reprice(records: Sequence[RunRecord]) -> bool:
    """Whether every round tells its device-seconds, and every run how many labels a round bought."""
    return all(isinstance(one.get("device_seconds"), Mapping) for run in records for one in run.rounds)


def repriced(records: Sequence[RunRecord], prices: Prices) -> list[RunRecord]:
    """The same runs, charged by other prices.

    A round tells its core-seconds and GPU-seconds as a whole. Sampling, training and evaluation get the share of both
    that they had of the round's compute dollars, or of its seconds where compute was free.
    """
    return [replace(run, rounds=tuple(_charged(one, used, prices) for one, used in _both(run))) for run in records]


def amounts(run: RunRecord) -> list[list[float]]:
    """By round: labels bought so far, labels bought, and core- and GPU-seconds of sampling, training, evaluation."""
    found, before = [], 0
    for one in run.rounds:
        labelled = int(one["labelled"])
        devices = one.get("device_seconds") or {}
        used = [float(devices.get(kind) or 0.0) for kind in ("cpu", "gpu")]
        found.append(
            [labelled, labelled - before, *(share * seconds for share in _shares(one) for seconds in used)],
        )
        before = labelled
    return found


def _both(run: RunRecord) -> list[tuple[Mapping[str, Any], list[float]]]:
    return list(zip(run.rounds, amounts(run), strict=True))


def _shares(one: Mapping[str, Any]) -> list[float]:
    cost, seconds = one.get("cost") or {}, one.get("seconds") or {}
    spent = [float(cost.get(part) or 0.0) for part in PARTS]
    whole = float(cost.get("compute") or 0.0)
    if not whole:
        spent = [
            float(value or 0.0)
            for value in (one.get("sampling_seconds"), one.get("training_seconds"), seconds.get("evaluate"))
        ]
        whole = sum(spent)
    # What no part is charged for is the driver's own, which goes with the choosing.
    return [1.0 - (spent[1] + spent[2]) / whole, spent[1] / whole, spent[2] / whole] if whole else [1.0, 0.0, 0.0]


def _charged(one: Mapping[str, Any], used: Sequence[float], prices: Prices) -> dict[str, Any]:
    labels = used[1] * prices.per_label
    parts = [(used[2 + 2 * i] * prices.cpu_hour + used[3 + 2 * i] * prices.gpu_hour) / _HOUR for i in range(len(PARTS))]
    compute = parts[0] + parts[1] + parts[2]
    cost = {"labels": labels, **dict(zip(PARTS, parts, strict=True)), "compute": compute, "total": labels + compute}
    return {**one, "cost": cost}
