"""Versions of the features after a refresh, made once and kept in a folder: what a fine-tune is needed for."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from alignment_tasks import Task
from backbones import State
from buying import take

from asvp.models.proxy import Head
from asvp.models.training.finetune import linear_probe

MOMENT_ROWS = 300
"""Unlabelled pool rows that give the mean and standard deviation of refreshed features, where picks are not random; the
whole pool would take minutes."""
MOST_LABELS = 1600
"""Labels up to which proxies are fitted."""
LONGEST = {"random": 4, "margin": 2}
"""Labels looked at, in multiples of those at the refresh."""
HELD_EVERY = 5
"""One labelled row in so many is kept out for verification."""
FULL, PART = "full", "part"
FOLDS = ("fold 1", "fold 2")
RECIPES: dict[str, dict[str, Any]] = {
    FULL: {},
    PART: {},
    "3 epochs": {"epochs": 3},
    "LP-FT": {},
    "augmented": {"augment": True},
    FOLDS[0]: {},
    FOLDS[1]: {},
}
"""What each refresh changes in the training; the part and the folds see fewer rows, LP-FT starts from a probe."""


@dataclass(frozen=True)
class View:
    """One version of the features, or several side by side: of the rows bought, the test rows, and the moments."""

    rows: np.ndarray
    test: np.ndarray
    mean: np.ndarray
    std: np.ndarray

    def beside(self, other: View) -> View:
        """Both side by side."""
        return View(
            np.concatenate([self.rows, other.rows], axis=1),
            np.concatenate([self.test, other.test], axis=1),
            np.concatenate([self.mean, other.mean]),
            np.concatenate([self.std, other.std]),
        )


@dataclass(frozen=True)
class Refresh:
    """One refresh of the study: the first `count` rows of an order are labelled."""

    task: Task
    seed: int
    picks: str
    count: int

    @property
    def key(self) -> str:
        """Name for files and records."""
        return f"{self.task.name}-{self.picks}-{self.seed}-{self.count}"

    @cached_property
    def order(self) -> np.ndarray:
        """Pool rows in the order they are bought, as many as are looked at."""
        return self.task.order(self.picks, self.seed, min(LONGEST[self.picks] * self.count, MOST_LABELS))

    @property
    def labels(self) -> np.ndarray:
        """Labels of `order`."""
        labels: np.ndarray = self.task.pool_labels[self.order]
        return labels

    @cached_property
    def held(self) -> np.ndarray:
        """Which of the first `count` rows stay out of the fine-tune of `part`: one in five of every class."""
        held: np.ndarray = self._dealt(1000, HELD_EVERY) == 0
        return held

    @cached_property
    def fold(self) -> np.ndarray:
        """Fold of each of the first `count` rows: fold k's encoder does not see it."""
        return self._dealt(2000, len(FOLDS))

    def _dealt(self, stream: int, hands: int) -> np.ndarray:
        """Rows dealt to so many hands, class after class."""
        rng = np.random.default_rng(stream + self.seed)
        by_class = np.lexsort((rng.random(self.count), self.labels[: self.count]))
        dealt = np.empty(self.count, np.int64)
        dealt[by_class] = np.arange(self.count) % hands
        return dealt

    @cached_property
    def sample(self) -> np.ndarray:
        """Pool rows to encode for the moments, unlabelled at the refresh; none if the picks to come are random."""
        if self.picks == "random":
            return np.empty(0, np.int64)
        rest = np.setdiff1d(np.arange(len(self.task.pool)), self.order)
        return np.random.default_rng(self.seed).choice(rest, min(MOMENT_ROWS, len(rest)), replace=False)

    @cached_property
    def old(self) -> View:
        """Pre-trained features; moments of the whole pool."""
        pool, test = self.task.pretrained
        return View(pool[self.order], test, pool.mean(axis=0), pool.std(axis=0))

    def version(self, recipe: str, share: float = 1.0) -> View:
        """Features after a refresh by a recipe, with weights so far from the pre-trained to the tuned ones."""
        name = recipe if share == 1 else f"{recipe} {share:g}"
        path = self._path(name)
        if not path.exists():
            self._make(recipe, share, path)
        with np.load(path) as kept:
            return View(kept["rows"], kept["test"], kept["mean"], kept["std"])

    def head(self, recipe: str) -> Head:
        """The head that was tuned with the encoder."""
        with np.load(self._path(recipe)) as kept:
            return Head(kept["weight"], kept["bias"])

    def seconds(self, recipe: str, share: float = 1.0) -> dict[str, float]:
        """CPU seconds of the fine-tune and of the extraction, and the rows that were extracted."""
        with np.load(self._path(recipe if share == 1 else f"{recipe} {share:g}")) as kept:
            return {name: float(kept[name]) for name in ("train_seconds", "encode_seconds", "encoded")}

    def encode_pool(self, recipe: str) -> np.ndarray:
        """Features of the whole pool under the tuned weights."""
        path = self._path(f"{recipe} pool")
        if not path.exists():
            self.task.backbone.blend(self._tuned(recipe), 1.0)
            np.savez(path, pool=self.task.backbone.encode(self.task.pool))
        with np.load(path) as kept:
            pool: np.ndarray = kept["pool"]
        return pool

    def _make(self, recipe: str, share: float, path: Path) -> None:
        backbone, trained = self.task.backbone, {}
        if share == 1:
            head, seconds = clocked(lambda: self._train(recipe))
            trained = {"weight": head.weight, "bias": head.bias, "train_seconds": seconds}
            np.savez(self._path(f"{recipe} weights"), **dict[str, Any](backbone.encoder.state()))
        else:
            backbone.blend(self._tuned(recipe), share)
            trained = {"train_seconds": 0.0}
        rows = take(self.task.pool, np.concatenate([self.order, self.sample])) + self.task.test
        features, seconds = clocked(lambda: backbone.encode(rows))
        ends = np.cumsum([len(self.order), len(self.sample)])
        bought, seen, test = np.split(features, ends)
        if not len(seen):
            seen = bought[self.count :]
        moments = {"mean": seen.mean(axis=0), "std": seen.std(axis=0)}
        np.savez(path, rows=bought, test=test, encode_seconds=seconds, encoded=len(rows), **moments, **trained)

    def _train(self, recipe: str) -> Head:
        used = self._used(recipe)
        labels = self.labels[: self.count][used]
        head = None
        if recipe == "LP-FT":
            head = linear_probe(self.old.rows[: self.count][used], labels, classes=self.task.classes, seed=self.seed)
        rows = take(self.task.pool, self.order[: self.count][used])
        return self.task.backbone.align(rows, labels, self.task.classes, self.seed, head=head, **RECIPES[recipe])

    def _used(self, recipe: str) -> np.ndarray:
        """Which of the labelled rows a recipe trains on."""
        used = np.ones(self.count, bool)
        if recipe == PART:
            used = ~self.held
        elif recipe in FOLDS:
            used = self.fold != FOLDS.index(recipe)
        return used

    def _tuned(self, recipe: str) -> State:
        if not self._path(recipe).exists():
            self.version(recipe)
        with np.load(self._path(f"{recipe} weights")) as kept:
            return dict(kept)

    def _path(self, name: str) -> Path:
        return self.task.folder / f"{self.key}-{name.replace(' ', '_')}.npz"


def clocked(work: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the CPU seconds of this process it took, which a busy machine changes little."""
    started = time.process_time()
    result = work()
    return result, time.process_time() - started
