"""`asvp check`: everything validated, and the plan of a run with what it will use."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from rich.console import Group
from rich.table import Table
from rich.text import Text

from asvp.compute.measured_placement import alternatives, fewest_rows, memory, recall
from asvp.compute.placement import Placement, place, settled_team
from asvp.config import Config, labels_by_round
from asvp.config.budget import format_budget
from asvp.data import Finding, examine
from asvp.data.examine import rows_sampled
from asvp.data.source import Kind
from asvp.driver.cautions import WHOLE_POOL, told_before
from asvp.driver.fit import ClusterFit, room_warnings
from asvp.driver.model_disk import ModelDisk, model_disk
from asvp.driver.preparation import prepare
from asvp.driver.prepared import Prepared, code_is_run
from asvp.driver.sizing import Speed, free_disk, measure_speed, object_store
from asvp.driver.words import duration, size
from asvp.errors import ClusterError, ConfigError, DataError
from asvp.features.feature_set import shard_starts
from asvp.models.failures import find_device
from asvp.remote.copies import called


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
    errors : list of str
        Why the cluster that was asked for cannot run it, with their mends.
    numbers : dict of str to object
        The same as plain values: counts, bytes and seconds.
    """

    lines: dict[str, str]
    classes: dict[str, int]
    warnings: list[str]
    numbers: dict[str, Any]
    errors: list[str] = field(default_factory=list)

    def rich(self) -> Group:
        """For a terminal."""
        table = Table(title="Plan", title_justify="left", show_header=False, box=None)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in self.lines.items():
            table.add_row(name, text)
        warnings = [Text(f"Warning: {warning}") for warning in self.warnings]
        errors = [Text(f"Error: {error}") for error in self.errors]
        ends = "The configuration is valid" + (", and this cluster cannot run it." if errors else ".")
        return Group(table, *warnings, *errors, Text(ends))

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**self.numbers, "classes": self.classes, "warnings": self.warnings, "errors": self.errors}


@dataclass(frozen=True)
class _Team:
    """Who would extract, and why.

    `basis` is "configuration", "rule" or "measurement".
    """

    placement: Placement
    basis: str
    reason: str

    def __str__(self) -> str:
        return f"{self.placement} ({self.reason})"

    def as_json(self) -> dict[str, float]:
        """What each worker holds."""
        return {"count": self.placement.workers, "cpus": self.placement.cpus, "gpus": self.placement.gpus}


def check_config(
    config: Config, *, address: str | None = None, out: str | None = None, all_rows: bool = False
) -> RunPlan:
    """Validate a configuration with its data, encoder, strategies and cache, and say what a run will use here.

    The time is estimated from a forward pass of a small sample on this machine.

    Parameters
    ----------
    config : Config
    address : str, optional
        Of a cluster that is to run it, and is asked whether it can; None: this machine, and nothing is started.
    out : str, optional
        Where the run or sweep would write there; the present folder if not given.
    all_rows : bool
        Read all rows of a large pool, not a sample of them.

    Raises
    ------
    AsvpError
        Whatever is wrong first.
    """
    prepared = prepare(config)
    dataset = prepared.dataset
    findings = examine(dataset, sample=not all_rows)
    _stop_where_a_run_would(findings)
    speed = measure_speed(prepared)
    sources = (dataset.pool, dataset.test)
    read = sum(len(source) if all_rows else rows_sampled(source) for source in sources)
    told = [*map(code_is_run, prepared.trusted), *told_before(prepared), *_budget_warnings(prepared)]
    told += map(str, findings)
    return _plan(prepared, speed, told, read, _fit(prepared, address, out))


def _sampled(read: int, rows: int, kind: Kind) -> str:
    """How many rows were looked at, where that were not all."""
    if read >= rows:
        return ""
    numbers = ", and the numbers of all rows" if kind == "features" else ""
    return f"; {read:,} were looked at, a sample (--all-rows looks at all){numbers}"


def _fit(prepared: Prepared, address: str | None, out: str | None) -> ClusterFit | None:
    if address is None:
        return None
    from asvp.driver.cluster_check import check_cluster

    return check_cluster(prepared, address, called("." if out is None else out))


def _plan(prepared: Prepared, speed: Speed, findings: Sequence[str], read: int, fit: ClusterFit | None) -> RunPlan:
    config, dataset = prepared.config, prepared.dataset
    errors, warnings = ([], list(findings)) if fit is None else (list(fit.errors), [*findings, *fit.warnings])
    team = None
    with _beside_others(errors, fit):
        team = _team(prepared.resolved(speed.encoder, find_device(None).type), fit)
    if team is not None:
        with _beside_others(errors, fit):
            _hold_devices(config, fit)
    if team is not None and fit is not None:
        warnings += room_warnings(config.workers, team.placement.bundle(), fit)
    rows, tests = len(dataset.pool), len(dataset.test)
    feature_bytes = (rows + tests) * speed.dim * np.dtype(config.extraction.feature_dtype).itemsize
    shards = len(shard_starts(rows, config.extraction.shard_rows)) - 1
    labels = labels_by_round(config.budget)
    classes = {name: int(count) for name, count in zip(dataset.classes, dataset.oracle.counts(), strict=True) if count}
    versions = 2 if prepared.mode.keeps_first else 1
    store = object_store() if fit is None else fit.smallest_store
    disk = free_disk(config.extraction.cache)
    # A sample on the cores here tells nothing of GPUs there.
    measured = team is not None and (fit is None or not team.placement.gpus or find_device(None).type == "cuda")
    seconds = _estimate(prepared, team.placement, speed) if team is not None and measured else None
    models = model_disk(config, prepared.mode, speed.weights_bytes)
    return RunPlan(
        lines={
            "mode": f"{config.mode}: {_refreshes(prepared)}",
            "rows": f"{rows:,} pool, {tests:,} test" + _sampled(read, rows + tests, dataset.kind),
            "classes": _range_of(classes),
            "encoder": f"{config.encoder.model if dataset.kind != 'features' else 'none'}, {speed.dim} features",
            "budget": f"{format_budget(config.budget)}: {labels[-1]:,} labels in {len(labels)} rounds, "
            f"${labels[-1] * config.cost.per_label:,.2f}",
            "strategy": f"{config.selection.strategy}; the first round {config.selection.cold_start}",
            "final model": f"{config.training.method}, {config.training.epochs} epochs",
            "extraction": f"{_counted(shards, 'shard')} of the pool; {team or 'no team fits this cluster'}",
            "features": f"{size(feature_bytes)} a version"
            + (f", {versions} of them at a time" if versions > 1 else "")
            + f"; {'the object store here would have' if fit is None else 'the smallest store has'} {size(store)}",
            "cache": f"{config.extraction.cache or 'none'}" + (f", {size(disk)} free" if disk is not None else ""),
            **_told_models(models),
            **_told_times(seconds),
            **({} if fit is None else {"cluster": str(fit)}),
        },
        classes=classes,
        warnings=warnings + _memory_warnings(feature_bytes, versions, store, disk),
        numbers={
            "pool_rows": rows,
            "test_rows": tests,
            "examined_rows": read,
            "dim": speed.dim,
            "shards": shards,
            "workers": None if team is None else team.as_json(),
            "placement": None if team is None else team.basis,
            "feature_bytes": feature_bytes,
            "labels": labels,
            "object_store_bytes": store,
            "disk_bytes": disk,
            "model_bytes": asdict(models),
            "estimated_seconds": seconds,
        },
        errors=errors,
    )


def _stop_where_a_run_would(findings: Sequence[Finding]) -> None:
    for finding in findings:
        if finding.stops:
            raise DataError(finding.message, key="data", mend=finding.mend)


@contextmanager
def _beside_others(errors: list[str], fit: ClusterFit | None) -> Iterator[None]:
    """What a cluster cannot do is told beside all else that is; on this machine it is raised."""
    try:
        yield
    except (ClusterError, ConfigError) as error:
        if fit is None:
            raise
        errors.append(str(error))


def _nodes(fit: ClusterFit | None) -> list[dict[str, float]]:
    """What the nodes of the cluster have, or this machine."""
    return [{"CPU": float(os.cpu_count() or 1), "GPU": float(torch.cuda.device_count())}] if fit is None else fit.nodes


def _hold_devices(config: Config, fit: ClusterFit | None) -> None:
    """Raise unless a node has room for all workers that are to train a model together."""
    nodes, growing = _nodes(fit), fit is not None and fit.growing
    settled_team(config.training, place(config.workers, nodes, growing=growing), nodes, growing=growing)


def _team(prepared: Prepared, fit: ClusterFit | None) -> _Team:
    """The placement on this machine, or on a cluster: as configured, as measured before, or by the rule."""
    config, dataset = prepared.config, prepared.dataset
    nodes = _nodes(fit)
    cores = [int(node["CPU"]) for node in nodes if node["CPU"]]
    rule = place(config.workers, nodes, growing=fit is not None and fit.growing)
    if {config.workers.count, config.workers.cpus} != {"auto"}:
        return _Team(rule, "configuration", "as configured")
    others = () if dataset.kind == "features" or not cores else alternatives(config.workers, rule, cores)
    if not others:
        return _Team(rule, "rule", _rule_in_words(rule))
    teams = (rule, *others)
    measured = recall(memory(prepared.cache, config.encoder, dataset.kind, cores), teams)
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

    The rates are those of one CPU thread, or of one GPU with whatever threads feed it.
    """
    if speed.rows_per_second is None or speed.trained_per_second is None:
        return None
    rows = len(prepared.dataset.pool) + len(prepared.dataset.test)
    config = prepared.config
    labels = labels_by_round(config.budget)[-1]
    # A head alone is trained on features.
    only_head = config.training.method == "lp"
    final = labels / speed.rows_per_second if only_head else labels * config.training.epochs / speed.trained_per_second
    one, all_idle = (1, 1) if placement.gpus else (placement.threads, placement.all_threads)
    return {
        "extraction": rows / (speed.rows_per_second * placement.workers * one),
        "final_model": final / all_idle,
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


def _budget_warnings(prepared: Prepared) -> list[str]:
    if sum(prepared.config.budget) < len(prepared.dataset.pool):
        return []
    return [f"{WHOLE_POOL[:1].upper()}{WHOLE_POOL[1:]}. Lower budget, or raise data.limit"]


def _memory_warnings(feature_bytes: int, versions: int, store: int, disk: int | None) -> list[str]:
    warnings = []
    if versions * feature_bytes > store:
        what = "One version of the features does" if versions == 1 else f"{versions} versions of the features do"
        aligned = "" if versions == 1 else ", refresh.features aligned"
        warnings.append(
            f"{what} not fit the object store; Ray will spill to disk. Use extraction.feature_dtype float16"
            f"{aligned}, or a machine with more memory"
        )
    if disk is not None and versions * feature_bytes > disk:
        warnings.append("The cache's disk has no room for the features. Name another folder in extraction.cache")
    return warnings


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}" + ("" if count == 1 else "s")


def _range_of(classes: dict[str, int]) -> str:
    largest, smallest = max(classes, key=classes.__getitem__), min(classes, key=classes.__getitem__)
    if classes[largest] == classes[smallest]:
        return f"{len(classes)}, of {_counted(classes[largest], 'row')} each"
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
