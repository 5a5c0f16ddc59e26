"""What proxies make of feature versions: on test rows, and on labelled rows kept out of the fine-tune."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from alignment_versions import FOLDS, FULL, PART, Refresh, View

from asvp.alignment import logme, logme_ped
from asvp.config import ProxyConfig
from asvp.models.proxy import fit_proxy
from asvp.selection import select

MULTIPLES = (1, 2, 4)
HELD_PROXIES = 3
"""Proxies a view for held-out rows, which are few."""
DEAR = 1000
"""Features from which proxies on two versions and many labels are left out where they decide nothing."""
SMALLEST = 1e-7
"""Probabilities are floored here before their logarithm is taken: float32 holds no less beside 1."""
BINS = 15

Records = list[dict[str, Any]]


def scores(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, mean log-loss in nats, and expected calibration error over 15 bins of equal width."""
    right = probabilities.argmax(axis=1) == labels
    confidence = probabilities.max(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    apart = np.bincount(bins, right - confidence, BINS)
    return {
        "accuracy": float(right.mean()),
        "loss": float(losses(probabilities, labels).mean()),
        "ece": float(np.abs(apart).sum() / len(labels)),
    }


def losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log-loss of each row, in nats."""
    given: np.ndarray = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST))
    return given


class Bench:
    """Fits and scores proxies for one refresh.

    Parameters
    ----------
    refresh : Refresh
    seeds : int
        Proxies a view; their scores are averaged.
    """

    def __init__(self, refresh: Refresh, seeds: int) -> None:
        self.refresh = refresh
        self.seeds = seeds
        self.width = refresh.old.rows.shape[1]
        self._kept: dict[tuple[str, int], list[np.ndarray]] = {}

    def counts(self, most: int = MULTIPLES[-1]) -> list[int]:
        """Labels that proxies are fitted on."""
        counts = [multiple * self.refresh.count for multiple in MULTIPLES if multiple <= most]
        return [count for count in counts if count <= len(self.refresh.order)]

    def fit(
        self, view: View, labelled: np.ndarray, outside: np.ndarray, wide: bool = False, seeds: int | None = None
    ) -> list[np.ndarray]:
        """Probabilities of rows outside, by a proxy of each seed on the labelled ones.

        The hidden layer is as wide as one version's features, also for several side by side, unless `wide`.
        """
        config = ProxyConfig(hidden=["auto" if wide else self.width])
        found = []
        for seed in range(seeds or self.seeds):
            proxy = fit_proxy(
                view.rows[labelled],
                self.refresh.labels[labelled],
                classes=self.refresh.task.classes,
                config=config,
                seed=seed,
                mean=view.mean,
                std=view.std,
            )
            found.append(proxy.probabilities(outside))
        return found

    def on_test(self, name: str, view: View, most: int = MULTIPLES[-1], wide: bool = False) -> Records:
        """Scores on test rows for each label count."""
        records = []
        for count in self.counts(most):
            if (name, count) not in self._kept:
                self._kept[name, count] = self.fit(view, np.arange(count), view.test, wide)
            records.append(self._record(name, count, self._kept[name, count]))
        return records

    def together(self, name: str, parts: tuple[str, str], most: int = MULTIPLES[-1]) -> Records:
        """Scores of two views' proxies averaged; both were on test rows before."""
        return [
            self._record(name, count, averaged(*(self._kept[part, count] for part in parts)))
            for count in self.counts(most)
        ]

    def repeated(self, name: str, most: int = MULTIPLES[-1]) -> Records:
        """Scores of a view's first two proxies averaged, which tells what averaging alone gives."""
        counts = self.counts(most) if self.seeds > 1 else []
        return [
            self._record(f"{name}, averaged", count, averaged(*([one] for one in self._kept[name, count][:2])))
            for count in counts
        ]

    def _record(self, name: str, count: int, found: list[np.ndarray]) -> dict[str, Any]:
        return {"kind": "proxy", "features": name, "labels": count, **self.mean_scores(found)}

    def mean_scores(self, found: list[np.ndarray]) -> dict[str, float]:
        """Mean over proxies of the scores on test rows."""
        each = [scores(probabilities, self.refresh.task.test_labels) for probabilities in found]
        return {name: float(np.mean([one[name] for one in each])) for name in each[0]}

    def head_on_test(self, recipe: str) -> Records:
        """Scores of the head that was tuned with the encoder."""
        view = self.refresh.version(recipe)
        found = [self.refresh.head(recipe).probabilities(view.test)]
        record = {"kind": "head", "features": recipe, "labels": self.refresh.count, **self.mean_scores(found)}
        return [record, {"kind": "cost", "features": recipe, **self.refresh.seconds(recipe)}]


def averaged(one: list[np.ndarray], other: list[np.ndarray]) -> list[np.ndarray]:
    """Means of two proxies' probabilities, proxy by proxy."""
    return [(first + second) / 2 for first, second in zip(one, other, strict=True)]


def verification(bench: Bench, old: View, part: View) -> Records:
    """Proxies on the labelled rows that the fine-tune saw, compared on those that it did not see."""
    refresh = bench.refresh
    inside, outside = np.flatnonzero(~refresh.held), np.flatnonzero(refresh.held)
    labels = refresh.labels[outside]
    both = old.beside(part)
    found = {
        name: bench.fit(view, inside, view.rows[outside], seeds=HELD_PROXIES)
        for name, view in (("old", old), ("new", part))
    }
    found["both"] = bench.fit(both, inside, both.rows[outside], seeds=HELD_PROXIES)
    found["ensemble"] = averaged(found["old"], found["new"])
    rows = {name: by_row(each, labels) for name, each in found.items()}
    records = []
    for name in ("new", "both", "ensemble"):
        record: dict[str, Any] = {"kind": "held", "features": name, "rows": len(outside)}
        for measure in ("accuracy", "loss"):
            apart = rows[name][measure] - rows["old"][measure]
            record[f"{measure}_old"] = float(rows["old"][measure].mean())
            record[f"{measure}_difference"] = float(apart.mean())
            record[f"{measure}_error"] = float(apart.std(ddof=1) / np.sqrt(len(apart)))
        records.append(record)
    return records


def by_row(found: list[np.ndarray], labels: np.ndarray) -> Mapping[str, np.ndarray]:
    """How often each row is told right and its mean log-loss, over proxies."""
    return {
        "accuracy": np.mean([each.argmax(axis=1) == labels for each in found], axis=0),
        "loss": np.mean([losses(each, labels) for each in found], axis=0),
    }


def indicators(refresh: Refresh) -> Records:
    """What could be read before a refresh."""
    old, labels = refresh.old, refresh.labels[: refresh.count]
    rows = old.rows[: refresh.count]
    rng = np.random.default_rng(refresh.seed)
    plain, moved = logme(rows, labels), logme_ped(rows, labels, old.mean, old.std)
    chance = float(np.mean([logme(rows, rng.permutation(labels)) for _ in range(2)]))
    about = {"kind": "indicators", "dim": rows.shape[1], "classes": refresh.task.classes}
    return [{**about, "logme": plain, "logme_ped": moved, "gap": moved - plain, "chance": chance}]


def crossed(refresh: Refresh, old: View) -> dict[str, View]:
    """Views whose labelled rows are encoded by the fold's encoder that did not see them.

    The other rows: by the encoder tuned on all labelled rows, or by the mean of the folds' encoders.
    """
    full = refresh.version(FULL)
    folds = [refresh.version(name) for name in FOLDS]
    mean = (folds[0].rows + folds[1].rows) / 2
    by_full, by_mean = full.rows.copy(), mean
    for number, fold in enumerate(folds):
        unseen = np.flatnonzero(refresh.fold == number)
        by_full[unseen] = fold.rows[unseen]
        by_mean[unseen] = fold.rows[unseen]
    moments = (folds[0].mean + folds[1].mean) / 2, (folds[0].std + folds[1].std) / 2
    views = {
        "cross-fitted, full": View(by_full, full.test, full.mean, full.std),
        "cross-fitted, mean": View(by_mean, (folds[0].test + folds[1].test) / 2, *moments),
    }
    return views | {f"old + {name}": old.beside(view) for name, view in views.items()}


def fold_agreement(refresh: Refresh) -> Records:
    """How alike the folds' encoders are: the cosine of the same test row's standardised feature under both."""
    views = [refresh.version(name) for name in FOLDS]
    scaled = [(view.test - view.mean) / np.maximum(view.std, 1e-3) for view in views]
    units = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in scaled]
    return [{"kind": "agreement", "cosine": float((units[0] * units[1]).sum(axis=1).mean())}]


def picked(bench: Bench) -> Records:
    """Accuracy of a fine-tune on as many labels again, picked in two rounds by margin on each view."""
    refresh, task, old = bench.refresh, bench.refresh.task, bench.refresh.old
    pretrained, tuned = task.pretrained[0], refresh.encode_pool(FULL)
    new = refresh.version(FULL)
    views = {
        "old": (pretrained, old.mean, old.std),
        "new": (tuned, new.mean, new.std),
        "both": (np.concatenate([pretrained, tuned], axis=1), old.beside(new).mean, old.beside(new).std),
    }
    records = []
    for name, (features, mean, std) in views.items():
        chosen = refresh.order[: refresh.count]
        for _ in range(2):
            proxy = fit_proxy(
                features[chosen],
                task.pool_labels[chosen],
                classes=task.classes,
                config=ProxyConfig(hidden=[bench.width]),
                seed=refresh.seed,
                mean=mean,
                std=std,
            )
            probabilities = proxy.probabilities(features)
            more = select(
                "margin",
                budget=refresh.count // 2,
                seed=refresh.seed,
                probabilities=probabilities,
                labelled=chosen,
            )
            chosen = np.concatenate([chosen, more])
        rows = [task.pool[row] for row in chosen]
        head = task.backbone.align(rows, task.pool_labels[chosen], task.classes, refresh.seed)
        found = [head.probabilities(task.backbone.encode(task.test))]
        records.append({"kind": "picks", "features": name, "labels": len(chosen), **bench.mean_scores(found)})
    return records


def plain_variants(bench: Bench) -> Records:
    """Old, new and both; half-way weights; two proxies averaged; the tuned head; indicators."""
    refresh = bench.refresh
    old, new, half = refresh.old, refresh.version(FULL), refresh.version(FULL, 0.5)
    records = bench.on_test("old", old) + bench.on_test("new", new) + bench.on_test("both", old.beside(new))
    records += bench.together("ensemble", ("old", "new")) + bench.repeated("old") + bench.repeated("both")
    records += bench.on_test("half", half, 2) + bench.on_test(
        "old + half", old.beside(half), 4 if bench.width < DEAR else 2
    )
    return records + bench.head_on_test(FULL) + indicators(refresh)


def held_variants(bench: Bench) -> Records:
    """A fine-tune on four in five labelled rows: verification on the fifth, and what it gains on test rows."""
    refresh = bench.refresh
    old, part = refresh.old, refresh.version(PART)
    records = bench.on_test("old", old, 2) + bench.on_test("part", part, 2)
    records += bench.on_test("old + part", old.beside(part), 2)
    records += bench.head_on_test(PART) + verification(bench, old, part) + indicators(refresh)
    held = np.flatnonzero(refresh.held)
    labels = refresh.labels[held]
    return [
        *records,
        {"kind": "held logme", "old": logme(old.rows[held], labels), "new": logme(part.rows[held], labels)},
    ]


def other_shares(bench: Bench) -> Records:
    """Weights a quarter and three quarters of the way."""
    records = []
    for share in (0.25, 0.75):
        view = bench.refresh.version(FULL, share)
        records += bench.on_test(f"share {share:g}", view, 2)
        records += bench.on_test(f"old + share {share:g}", bench.refresh.old.beside(view), 2)
    return records


def other_training(bench: Bench, recipe: str) -> Records:
    """Another fine-tune, alone and beside the old features."""
    view = bench.refresh.version(recipe)
    records = bench.on_test(recipe, view, 2) + bench.on_test(f"old + {recipe}", bench.refresh.old.beside(view), 2)
    return records + bench.head_on_test(recipe)


def wide_variants(bench: Bench) -> Records:
    """Both side by side with a hidden layer as wide as both together."""
    both = bench.refresh.old.beside(bench.refresh.version(FULL))
    return bench.on_test("both, wide proxy", both, 2, wide=True)


def cross_fits(bench: Bench) -> Records:
    """Cross-fitted features of the labelled rows."""
    records = fold_agreement(bench.refresh)
    for name, view in crossed(bench.refresh, bench.refresh.old).items():
        records += bench.on_test(name, view, 2)
    return records
