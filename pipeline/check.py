"""`asvp check`: everything validated, and the plan of a run with what it will use."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Group
from rich.table import Table
from rich.text import Text

from pipeline.budget import format_budget
from pipeline.config import Config, labels_by_round
from pipeline.features.feature_set import shard_starts
from pipeline.models.backbone import find_backbone
from pipeline.preparation import Prepared, prepare


@dataclass(frozen=True)
class RunPlan:
    """What a run will do and use.

    Attributes
    ----------
    lines : dict of str to str
        What is told, by its name.
    classes : dict of str to int
        Pool rows of each class.
    warnings : list of str
        What will hurt.
    numbers : dict of str to object
        The same as plain values: counts, and bytes.
    """

    lines: dict[str, str]
    classes: dict[str, int]
    warnings: list[str]
    numbers: dict[str, Any]

    def rich(self) -> Group:
        """For a terminal."""
        table = Table(title="Plan", title_justify="left", show_header=False, box=None)
        for name, text in self.lines.items():
            table.add_row(name, text)
        warnings = [Text(f"Warning: {warning}") for warning in self.warnings]
        return Group(table, *warnings, Text("The configuration is valid."))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.numbers, "classes": self.classes, "warnings": self.warnings}


def check_config(config: Config) -> RunPlan:
    """Validate a configuration with its data, encoder, strategies and cache, and say what a run will use.

    Raises
    ------
    AsvpError
        Whatever is wrong first.
    """
    prepared = prepare(config)
    dataset = prepared.dataset
    dim = _width(prepared)
    rows, tests = len(dataset.pool), len(dataset.test)
    bytes_each = dim * np.dtype(config.extraction.feature_dtype).itemsize
    feature_bytes = (rows + tests) * bytes_each
    counts = dataset.oracle.counts()
    classes = {name: int(count) for name, count in zip(dataset.classes, counts, strict=True)}
    store, disk = _shared_memory(), _free_disk(config)
    shards = len(shard_starts(rows, config.extraction.shard_rows)) - 1
    labels = labels_by_round(config.budget)
    largest, smallest = max(classes, key=classes.__getitem__), min(classes, key=classes.__getitem__)
    lines = {
        "mode": f"{config.mode}: {_refreshes(prepared)}",
        "rows": f"{rows:,} pool, {tests:,} test",
        "classes": f"{len(classes)}, from {largest} ({classes[largest]:,}) to {smallest} ({classes[smallest]:,})",
        "encoder": f"{config.encoder.model}, {dim} features" if dataset.kind != "features" else f"none, {dim} features",
        "budget": f"{format_budget(config.budget)}: {labels[-1]:,} labels in {len(labels)} rounds, "
        f"${labels[-1] * config.cost.per_label:,.2f}",
        "strategy": f"{config.selection.strategy}, the first round {config.selection.cold_start}",
        "final model": f"{config.training.method}, {config.training.epochs} epochs",
        "shards": f"{shards} of the pool",
        "features": f"{_size(feature_bytes)} a version in the object store ({_size(store)} of shared memory free)",
        "cache": f"{config.extraction.cache or 'none'}" + (f" ({_size(disk)} free)" if disk is not None else ""),
    }
    numbers = {
        "pool_rows": rows,
        "test_rows": tests,
        "dim": dim,
        "shards": shards,
        "feature_bytes": feature_bytes,
        "labels": labels,
        "shared_memory_bytes": store,
        "disk_bytes": disk,
    }
    return RunPlan(lines, classes, _warnings(classes, feature_bytes, store, disk), numbers)


def _warnings(classes: dict[str, int], feature_bytes: int, store: int, disk: int | None) -> list[str]:
    warnings = []
    small = [name for name, count in classes.items() if count < 2]
    if small:
        shown = ", ".join(small[:5]) + (", ..." if len(small) > 5 else "")
        warnings.append(f"{len(small)} classes have fewer than two pool rows: {shown}")
    if feature_bytes > store:
        warnings.append("one version of the features does not fit the shared memory here; Ray will spill it to disk")
    if disk is not None and feature_bytes > disk:
        warnings.append("the cache's disk has no room for the features")
    return warnings


def _width(prepared: Prepared) -> int:
    dataset = prepared.dataset
    if dataset.kind == "features":
        return int(np.asarray(dataset.pool.take(np.zeros(1, np.int64))).shape[1])
    return find_backbone(prepared.config.encoder, dataset.kind, weights=False).width


def _refreshes(prepared: Prepared) -> str:
    refresh = prepared.mode.refresh
    told = {
        "never": "features are never refreshed",
        "every": f"features are refreshed every {refresh.every} rounds"
        if refresh.every != 1
        else "the encoder is fine-tuned and all features are made anew every round",
        "at": f"features are refreshed at {refresh.at} labels",
        "logme": "features are refreshed when LogME says it pays",
        "logme_ped": "features are refreshed when LogME-PED says it pays",
    }
    return told[refresh.policy]


def _shared_memory() -> int:
    """Free bytes of shared memory, where the object store lies."""
    place = "/dev/shm" if Path("/dev/shm").exists() else "/"
    return shutil.disk_usage(place).free


def _free_disk(config: Config) -> int | None:
    cache = config.extraction.cache
    if cache is None or "://" in cache:
        return None
    path = Path(os.path.expanduser(cache)).absolute()
    return shutil.disk_usage(next(folder for folder in (path, *path.parents) if folder.exists())).free


def _size(count: int) -> str:
    amount, unit = float(count), "B"
    for larger in ("KB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{amount:.0f} {unit}" if amount >= 10 or unit == "B" else f"{amount:.1f} {unit}"
