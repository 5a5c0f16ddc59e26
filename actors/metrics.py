"""What a pool and its drivers count, for Prometheus: Ray's agent on each node exports it (docs/cluster.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from ray.util.metrics import Counter, Gauge


@dataclass(frozen=True)
class Metric:
    """A number that is exported.

    Attributes
    ----------
    kind : {"counter", "gauge"}
    description : str
    tags : tuple of str
    """

    kind: Literal["counter", "gauge"]
    description: str
    tags: tuple[str, ...] = ()


METRICS: dict[str, Metric] = {
    "asvp_workers": Metric("gauge", "Workers of a pool that have started", ("pool",)),
    "asvp_workers_busy": Metric("gauge", "Workers of a pool that are lent to a driver", ("pool",)),
    "asvp_requests_waiting": Metric("gauge", "Requests in the queue of a pool", ("pool",)),
    "asvp_rows_extracted": Metric("counter", "Rows that became features, not counting those out of the cache"),
    "asvp_feature_bytes": Metric("counter", "Bytes of these features"),
    "asvp_jobs": Metric("counter", "Jobs that workers have done", ("kind",)),
    "asvp_job_seconds": Metric("counter", "Seconds of these jobs; of shards at a time all count", ("kind",)),
    "asvp_rounds": Metric("counter", "Finished rounds"),
    "asvp_refreshes": Metric("counter", "Refreshes of the features"),
    "asvp_dollars": Metric("counter", "Dollars charged", ("what",)),
    "asvp_device_seconds": Metric("counter", "Core-seconds and GPU-seconds charged", ("device",)),
    "asvp_reused_seconds": Metric("counter", "Seconds of work that was found in the cache, or done for another trial"),
}
"""By name, as Ray is told them; it exports them as ray_NAME, a counter as ray_NAME_total."""


def count(name: str, amount: float, **tags: str) -> None:
    """Add to a counter."""
    if amount > 0:
        _made(name).inc(amount, tags=tags)


def show(name: str, value: float, **tags: str) -> None:
    """Set a gauge."""
    _made(name).set(value, tags=tags)


@cache
def _made(name: str) -> Any:
    one = METRICS[name]
    kind = Counter if one.kind == "counter" else Gauge
    return kind(name, description=one.description, tag_keys=one.tags)


def count_round(record: Mapping[str, Any]) -> None:
    """Count a finished round, as in rounds.jsonl."""
    count("asvp_rounds", 1)
    count("asvp_refreshes", int(bool(record["refreshed"])))
    count("asvp_reused_seconds", record["saved_seconds"])
    for device, seconds in record["device_seconds"].items():
        count("asvp_device_seconds", seconds, device=device)
    for what in ("labels", "sampling", "training", "evaluation"):
        count("asvp_dollars", record["cost"][what], what=what)
