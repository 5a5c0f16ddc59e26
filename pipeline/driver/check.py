"""`asvp check`: everything validated, and the plan of a run with what it will use."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text

from asvp.compute.measured_placement import alternatives, fewest_rows, memory, recall
from asvp.compute.placement import Placement, place
from asvp.config import Config, labels_by_round
from asvp.config.budget import format_budget
from asvp.data import Finding, examine
from asvp.driver.model_disk import ModelDisk, model_disk
from asvp.driver.preparation import prepare
from asvp.driver.prepared import Prepared, code_is_run
from asvp.driver.sizing import Speed, free_disk, measure_speed, object_store
from asvp.driver.words import duration, size
from asvp.errors import DataError
from asvp.features.feature_set import shard_starts

# A training step costs about a forward pass and twice that for the gradients.
_STEP_IN_FORWARD_PASSES = 3.0


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
        What will hurt, with its mend.
    numbers : dict of str to object
        The same as plain values: counts, bytes and seconds.
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


@dataclass(frozen=True)
class _Team:
    """Who would extract on this machine, and why.

    `basis` is "configuration", "rule" or "measurement".
    """

    placement: Placement
    basis: str
    reason: str


def check_config(config: Config) -> RunPlan:
    """Validate a configuration with its data, encoder, strategies and cache, and say what a run will use here.

    The time is estimated from a forward pass of a small sample on this machine.

    Raises
    ------
    AsvpError
        Whatever is wrong first.
    """
    prepared = prepare(config)
    dataset = prepared.dataset
    findings = examine(dataset)
    _stop_where_a_run_would(findings)
    speed = measure_speed(prepared)
    team = _team(prepared.resolved(speed.encoder))
    placement = team.placement
    rows, tests = len(dataset.pool), len(dataset.test)
    feature_bytes = (rows + tests) * speed.dim * np.dtype(config.extraction.feature_dtype).itemsize
    shards = len(shard_starts(rows, config.extraction.shard_rows)) - 1
    labels = labels_by_round(config.budget)
    classes = {name: int(count) for name, count in zip(dataset.classes, dataset.oracle.counts(), strict=True) if count}
    versions = 2 if prepared.mode.keeps_first else 1
    store, disk = object_store(), free_disk(config.extraction.cache)
    seconds = _estimate(prepared, placement, speed)
    models = model_disk(config, prepared.mode, speed.weights_bytes)
    warnings = [*map(code_is_run, prepared.trusted), *map(str, findings)]
    return RunPlan(
        lines={
            "mode": f"{config.mode}: {_refreshes(prepared)}",
            "rows": f"{rows:,} pool, {tests:,} test",
            "classes": _range_of(classes),
            "encoder": f"{config.encoder.model if dataset.kind != 'features' else 'none'}, {speed.dim} features",
            "budget": f"{format_budget(config.budget)}: {labels[-1]:,} labels in {len(labels)} rounds, "
            f"${labels[-1] * config.cost.per_label:,.2f}",
            "strategy": f"{config.selection.strategy}; the first round {config.selection.cold_start}",
            "final model": f"{config.training.method}, {config.training.epochs} epochs",
            "extraction": f"{shards} shards of the pool; {placement} ({team.reason})",
            "features": f"{size(feature_bytes)} a version"
            + (f", {versions} of them at a time" if versions > 1 else "")
            + f"; the object store here would have {size(store)}",
            "cache": f"{config.extraction.cache or 'none'}" + (f", {size(disk)} free" if disk is not None else ""),
            **_told_times(seconds),
        },
        classes=classes,
        warnings=warnings + _memory_warnings(feature_bytes, versions, store, disk),
        numbers={
            "pool_rows": rows,
            "test_rows": tests,
            "dim": speed.dim,
            "shards": shards,
            "workers": {"count": placement.workers, "cpus": placement.cpus, "gpus": placement.gpus},
            "placement": team.basis,
            "feature_bytes": feature_bytes,
            "labels": labels,
            "object_store_bytes": store,
            "disk_bytes": disk,
            "model_bytes": asdict(models),
            "estimated_seconds": seconds,
        },
    )


def _stop_where_a_run_would(findings: Sequence[Finding]) -> None:
    for finding in findings:
        if finding.stops:
            raise DataError(finding.message, key="data", mend=finding.mend)


def _team(prepared: Prepared) -> _Team:
    """The placement on this machine: as configured, as measured before, or by the rule."""
    config, dataset = prepared.config, prepared.dataset
    cores = os.cpu_count() or 1
    rule = place(config.workers, [{"CPU": float(cores), "GPU": float(torch.cuda.device_count())}])
    if {config.workers.count, config.workers.cpus} != {"auto"}:
        return _Team(rule, "configuration", "as configured")
    others = () if dataset.kind == "features" else alternatives(config.workers, rule, [cores])
    if not others:
        return _Team(rule, "rule", _rule_in_words(rule))
    teams = (rule, *others)
    measured = recall(memory(prepared.cache, config.encoder, dataset.kind, [cores]), teams)
    if measured is not None:
        return _Team(measured.fastest, "measurement", f"measured before: {measured}")
    fewest = fewest_rows(teams)
    measures = (
        "a run measures first whether it is the fastest"
        if len(dataset.pool) >= fewest
        else f"measured from {fewest:,} rows on"
    )
    return _Team(rule, "rule", f"{_rule_in_words(rule)}; {measures}")


def _rule_in_words(rule: Placement) -> str:
    if not rule.gpus:
        return "one a core"
    a_gpu = round(1 / rule.gpus)
    return f"{'one' if a_gpu == 1 else a_gpu} a GPU" if rule.gpus <= 1 else f"one for every {rule.gpus:g} GPUs"


def _estimate(prepared: Prepared, placement: Placement, speed: Speed) -> dict[str, float] | None:
    """Seconds of an extraction of all rows and of the final model; None where no encoder works.

    The rate is that of one CPU thread, or of one GPU with whatever threads feed it.
    """
    if speed.rows_per_second is None:
        return None
    rows = len(prepared.dataset.pool) + len(prepared.dataset.test)
    config = prepared.config
    passes = labels_by_round(config.budget)[-1] * config.training.epochs * _STEP_IN_FORWARD_PASSES
    one, all_idle = (1, 1) if placement.gpus else (placement.threads, placement.all_threads)
    return {
        "extraction": rows / (speed.rows_per_second * placement.workers * one),
        "final_model": passes / (speed.rows_per_second * all_idle),
    }


def _told_models(models: ModelDisk) -> dict[str, str]:
    if not models.cache + models.final:
        return {}
    kept = f"{size(models.final)} in the run directory" if models.final else "none in the run directory"
    return {"models": f"up to {size(models.cache)} in the cache, {kept} (training.keep)"}


def _told_times(seconds: dict[str, float] | None) -> dict[str, str]:
    if seconds is None:
        return {}
    return {
        "time": f"about {duration(seconds['extraction'])} for a version of the features, "
        f"{duration(seconds['final_model'])} for the final model (from a small sample)"
    }


def _memory_warnings(feature_bytes: int, versions: int, store: int, disk: int | None) -> list[str]:
    warnings = []
    if versions * feature_bytes > store:
        what = "One version of the features does" if versions == 1 else f"{versions} versions of the features do"
        aligned = "" if versions == 1 else ", refresh.features aligned"
        warnings.append(
            f"{what} not fit the object store here; Ray will spill to disk. Use extraction.feature_dtype float16"
            f"{aligned}, or a machine with more memory"
        )
    if disk is not None and versions * feature_bytes > disk:
        warnings.append("The cache's disk has no room for the features. Name another folder in extraction.cache")
    return warnings


def _range_of(classes: dict[str, int]) -> str:
    largest, smallest = max(classes, key=classes.__getitem__), min(classes, key=classes.__getitem__)
    return f"{len(classes)}, from {largest} ({classes[largest]:,} rows) to {smallest} ({classes[smallest]:,})"


def _refreshes(prepared: Prepared) -> str:
    refresh = prepared.mode.refresh
    every = "every round" if refresh.every == 1 else f"every {refresh.every} rounds"
    told = {
        "never": "features are never refreshed",
        "every": f"the encoder is fine-tuned and all features are made anew {every}",
        "at": f"features are refreshed at {_listed(refresh.at or [])} labels",
        "logme": "features are refreshed when LogME says that it pays",
        "logme_ped": "features are refreshed when LogME-PED says that it pays",
    }
    kept = "; the pre-trained ones stay beside them" if prepared.mode.keeps_first else ""
    return told[refresh.policy] + kept


def _listed(counts: Sequence[int]) -> str:
    return ", ".join(f"{count:,}" for count in counts)
