"""Shards that the cache holds, read before an extraction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import pyarrow as pa

from asvp.compute.session import ShardJob, ShardReport, stored_shard
from asvp.errors import CacheError
from asvp.features.cache import DamagedPartError
from asvp.features.feature_set import Shard


def load_shards(
    tasks: Sequence[ShardJob], keep: Callable[[pa.Table, ShardJob], Shard], say: Callable[[str], None]
) -> tuple[dict[int, Shard], dict[int, ShardReport]]:
    """Shards of these tasks that the cache holds, each as what `keep` makes of it, by their numbers.

    A damaged shard is told of and left out. Once the cache cannot be reached, that is told, and no other is asked for:
    what a cache that fails costs is the reuse.
    """
    shards: dict[int, Shard] = {}
    reports: dict[int, ShardReport] = {}
    entry = tasks[0].entry
    if entry is None:
        return shards, reports
    try:
        stored = entry.parts()
        for task in tasks:
            if task.part not in stored:
                continue
            try:
                table, report = stored_shard(task, stored[task.part])
            except DamagedPartError as error:
                say(f"cache: {error}")
            else:
                shards[task.index], reports[task.index] = keep(table, task), report
    except CacheError as error:
        say(f"The cache is not read: {error}")
    if len({report.dim for report in reports.values()}) > 1:
        say(f"The cache is not used: shards of features/{entry.key} differ in width")
        return {}, {}
    return shards, reports


def tell_unwritten(reports: Iterable[ShardReport], say: Callable[[str], None]) -> None:
    """Tell once why shards could not be written to the cache, if so."""
    errors = [report.cache_error for report in reports if report.cache_error]
    if errors:
        say(f"The features are not cached ({len(errors)} shards): {errors[0]}")
