"""What LogME costs, and how well indicators foretell what a refresh gains.

    python benchmarks/indicators.py timing
    nice -n 10 python benchmarks/indicators.py study --out ~/indicators.jsonl
    python benchmarks/indicators.py report --out ~/indicators.jsonl --docs docs

`study` appends the readings of one series (a data set, a seed, a way of picking) when it is complete and leaves out
what the file already holds; it may be killed and started again. docs/indicators.md says what came out.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from buying import buy_by_margin, take
from indicators_report import write_report
from indicators_tasks import Task, tasks

from asvp.alignment import logme, logme_ped, ped
from asvp.config import ProxyConfig
from asvp.models.proxy import Proxy, fit_proxy

COUNTS = (100, 200, 400, 800)
MOMENT_ROWS = 1000
"""Pool rows that give the mean and standard deviation of refreshed features; the whole pool would take minutes."""
PROXY_SEEDS = 3
FOLDS = 4


@dataclass(frozen=True)
class Features:
    """One version of the features: of the rows that are labelled in the end, of the test rows, and their moments."""

    labelled: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    @classmethod
    def of(cls, task: Task, labelled: np.ndarray, sample: np.ndarray) -> Features:
        seen = task.backbone.encode(take(task.pool, sample))
        return cls(
            task.backbone.encode(take(task.pool, labelled)),
            task.backbone.encode(task.test),
            seen.mean(axis=0),
            seen.std(axis=0),
        )

    def proxy(self, labels: np.ndarray, classes: int, seed: int, rows: np.ndarray | None = None) -> Proxy:
        """A proxy on the first labelled rows, or on those named."""
        chosen = np.arange(len(labels)) if rows is None else rows
        return fit_proxy(
            self.labelled[chosen],
            labels[chosen],
            classes=classes,
            config=ProxyConfig(),
            seed=seed,
            mean=self.mean,
            std=self.std,
        )

    def correct(self, task: Task, labels: np.ndarray) -> np.ndarray:
        """How often each test row is told right by proxies of several seeds, 0 to 1."""
        hits = [
            self.proxy(labels, task.classes, seed).probabilities(self.test).argmax(axis=1) == task.test_labels
            for seed in range(PROXY_SEEDS)
        ]
        return np.mean(hits, axis=0)


def pick_all(task: Task, features: np.ndarray, picks: str, seed: int) -> np.ndarray:
    """The row numbers bought, in order: 100 at random, the rest at random or by the proxy's margin."""
    order = np.random.default_rng(seed).permutation(len(task.pool_labels))
    if picks == "random":
        return order[: COUNTS[-1]]
    return buy_by_margin(features, task.pool_labels, task.classes, order[: COUNTS[0]], COUNTS[1:], seed)


def readings(features: Features, labels: np.ndarray, classes: int, seed: int) -> dict[str, float]:
    """Every indicator of one feature version that needs the labelled rows alone."""
    rng = np.random.default_rng(seed)
    present = features.labelled[: len(labels)]
    plain = logme(present, labels)
    moved = logme_ped(present, labels, features.mean, features.std)
    narrow = logme(ped(present, labels, features.mean, features.std, radius_factor=0.3), labels)
    chance = float(np.mean([logme(present, rng.permutation(labels)) for _ in range(2)]))
    share = np.unique(labels, return_counts=True)[1] / len(labels)
    constant = float(np.mean(-0.5 * np.log(2 * np.pi * np.e * share * (1 - share))))
    hits, confidence = [], []
    fold = rng.permutation(len(labels)) % FOLDS
    for held in range(FOLDS):
        proxy = features.proxy(labels, classes, seed, np.flatnonzero(fold != held))
        outside = proxy.probabilities(present[fold == held])
        hits.append(outside.argmax(axis=1) == labels[fold == held])
        confidence.append(outside.max(axis=1))
    cross_validated = float(np.concatenate(hits).mean())
    return {
        "logme": plain,
        "logme_ped": moved,
        "gap": moved - plain,
        "gap (radius 0.3)": narrow - plain,
        "LogME above chance": plain - chance,
        "LogME above a constant": plain - constant,
        "unexplained share": (moved - plain) / (moved - chance),
        "cv error": 1 - cross_validated,
        "overconfidence": float(np.concatenate(confidence).mean()) - cross_validated,
        "labels": float(len(labels)),
        "labels a class": len(labels) / classes,
    }


def run_series(task: Task, pretrained: np.ndarray, picks: str, seed: int) -> list[dict[str, Any]]:
    """Readings before each refresh and what it gained: from the pre-trained features, and from the last refresh's."""
    chosen = pick_all(task, pretrained, picks, seed)
    sample = np.random.default_rng(seed).choice(len(pretrained), min(MOMENT_ROWS, len(pretrained)), replace=False)
    task.backbone.reset()
    versions = {0: Features.of(task, chosen, sample)}
    records = []
    for count in COUNTS:
        labels = task.pool_labels[chosen[:count]]
        started = time.perf_counter()
        task.backbone.align(take(task.pool, chosen[:count]), labels, task.classes, seed)
        refreshed = Features.of(task, chosen, sample)
        seconds = time.perf_counter() - started
        after = refreshed.correct(task, labels)
        for trained_on, features in versions.items():
            before = features.correct(task, labels)
            records.append(
                {
                    "data": task.name,
                    "classes": task.classes,
                    "picks": picks,
                    "seed": seed,
                    "labelled": count,
                    "trained_on": trained_on,
                    "before": float(before.mean()),
                    "after": float(after.mean()),
                    "gain": float((after - before).mean()),
                    "gain_error": float((after - before).std() / np.sqrt(len(after))),
                    "refresh_seconds": seconds,
                    "readings": readings(features, labels, task.classes, seed),
                }
            )
        versions = {0: versions[0], count: refreshed}
    return records


@click.group()
def main() -> None:
    """Timing and study of the refresh indicators."""
    torch.set_num_threads(1)


@main.command()
@click.option("--rows", default=5000)
@click.option("--dim", default=768)
@click.option("--classes", default=100)
@click.option("--repeats", default=7)
def timing(rows: int, dim: int, classes: int, repeats: int) -> None:
    """LogME beside the decompositions of the same features alone (median seconds)."""
    rng = np.random.default_rng(0)
    features = rng.standard_normal((rows, dim)).astype(np.float32)
    labels = rng.integers(0, classes, rows)

    def eigendecomposition() -> None:
        wide = features.astype(np.float64)
        np.linalg.eigh(wide.T @ wide if rows >= dim else wide @ wide.T)

    work: dict[str, Callable[[], object]] = {
        "logme": lambda: logme(features, labels),
        "eigendecomposition of the Gram matrix, float64": eigendecomposition,
        "thin SVD, float64": lambda: np.linalg.svd(features.astype(np.float64), full_matrices=False),
        "logme_ped": lambda: logme_ped(features, labels, features.mean(axis=0), features.std(axis=0)),
    }
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats):
        for name, call in work.items():
            started = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - started)
    base = np.median(seconds["logme"])
    click.echo(f"{rows} x {dim}, {classes} classes")
    for name, values in seconds.items():
        click.echo(f"{name:50} {np.median(values):7.3f} s   logme takes {base / np.median(values):.2f} times as long")


@main.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="JSON lines file, outside the repository.")
@click.option("--seeds", default=2)
@click.option("--only", default="", help="Only data sets whose name holds this.")
def study(out: Path, seeds: int, only: str) -> None:
    """Measure readings and gains; resumable."""
    done = set()
    if out.exists():
        done = {(r["data"], r["picks"], r["seed"]) for r in map(json.loads, out.read_text().splitlines())}
    chosen = [(task, functools.cache(lambda task=task: encode_pool(task))) for task in tasks(only)]
    # one series of every data set before the next, so that an early end leaves a balanced study
    for seed in range(seeds):
        for picks in ("margin", "random"):
            for task, pretrained in chosen:
                if (task.name, picks, seed) in done:
                    continue
                started = time.perf_counter()
                records = run_series(task, pretrained(), picks, seed)
                with out.open("a") as lines:
                    lines.write("".join(json.dumps(record) + "\n" for record in records))
                click.echo(f"{task.name}, {picks}, seed {seed}: {time.perf_counter() - started:.0f} s")


def encode_pool(task: Task) -> np.ndarray:
    """Pre-trained features of the whole pool."""
    task.backbone.reset()
    return task.backbone.encode(task.pool)


@main.command()
@click.option("--out", type=click.Path(path_type=Path, exists=True), required=True, help="What `study` wrote.")
@click.option("--docs", type=click.Path(path_type=Path), required=True, help="Folder with indicators.md.")
def report(out: Path, docs: Path) -> None:
    """Draw the figures into DOCS/figures and print the tables."""
    write_report([json.loads(line) for line in out.read_text().splitlines()], docs / "figures")


if __name__ == "__main__":
    main()
