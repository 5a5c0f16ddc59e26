"""Data sets and encoders of the study in indicators.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from backbones import minilm
from sklearn.datasets import load_digits

from asvp.config import DataConfig
from asvp.data import open_dataset

SECTIONS = ("sections, 33 classes", "sections, 8 commonest", "sections, 8 rarest")
VECTORS = ("digits", "clusters, easy", "clusters, medium", "clusters, hard", "clusters, nothing lost")


class Backbone(Protocol):
    """An encoder that can be aligned: fine-tuned from its pre-trained weights."""

    def reset(self) -> None: ...

    def encode(self, rows: Any) -> np.ndarray: ...

    def align(self, rows: Any, labels: np.ndarray, classes: int, seed: int) -> object: ...


class VectorBackbone:
    """A small perceptron, pre-trained without labels as a denoising autoencoder of the pool's vectors.

    The narrower its features (`dim`), the more of what the classes need is lost in them and left to fine-tuning.
    """

    width = 256

    def __init__(self, pool: np.ndarray, dim: int) -> None:
        self.dim = dim
        self.mean, self.std = pool.mean(axis=0), np.maximum(pool.std(axis=0), 1e-3)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.net = torch.nn.Sequential(
                torch.nn.Linear(pool.shape[1], self.width),
                torch.nn.GELU(),
                torch.nn.Linear(self.width, self.width),
                torch.nn.GELU(),
                torch.nn.Linear(self.width, self.dim),
            )
            decoder = torch.nn.Sequential(
                torch.nn.Linear(self.dim, self.width), torch.nn.GELU(), torch.nn.Linear(self.width, pool.shape[1])
            )
        self._pretrain(self._tensor(pool), decoder)
        self.pretrained = {name: tensor.clone() for name, tensor in self.net.state_dict().items()}

    def reset(self) -> None:
        self.net.load_state_dict(self.pretrained)

    def encode(self, rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return self.net(self._tensor(rows)).numpy()

    def align(self, rows: np.ndarray, labels: np.ndarray, classes: int, seed: int) -> None:
        """As the text encoder's fine-tuning, with the larger rate and more epochs a net from scratch needs."""
        self.reset()
        inputs, targets = self._tensor(rows), torch.as_tensor(labels)
        head = torch.nn.Linear(self.dim, classes)
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.zeros_(head.bias)
        groups = [{"params": self.net.parameters(), "lr": 1e-3}, {"params": head.parameters(), "lr": 1e-2}]
        self._train(
            groups,
            len(rows),
            30,
            seed,
            lambda b: torch.nn.functional.cross_entropy(head(self.net(inputs[b])), targets[b]),
        )

    def _pretrain(self, inputs: torch.Tensor, decoder: torch.nn.Module) -> None:
        generator = torch.Generator().manual_seed(1)

        def loss(batch: torch.Tensor) -> torch.Tensor:
            noise = 0.3 * torch.randn(inputs[batch].shape, generator=generator)
            return ((decoder(self.net(inputs[batch] + noise)) - inputs[batch]) ** 2).mean()

        self._train([{"params": [*self.net.parameters(), *decoder.parameters()], "lr": 1e-3}], len(inputs), 60, 0, loss)

    @staticmethod
    def _train(
        groups: list[dict[str, Any]], rows: int, epochs: int, seed: int, loss: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        """AdamW with linear decay, batches of 32 in a seeded order."""
        optimiser = torch.optim.AdamW(groups, weight_decay=0.01)
        steps = epochs * -(-rows // 32)
        decay = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        generator = torch.Generator().manual_seed(seed)
        for _ in range(epochs):
            for batch in torch.randperm(rows, generator=generator).split(32):
                optimiser.zero_grad()
                loss(batch).backward()
                optimiser.step()
                decay.step()

    def _tensor(self, rows: np.ndarray) -> torch.Tensor:
        return torch.as_tensor((rows - self.mean) / self.std, dtype=torch.float32)


@dataclass(frozen=True)
class Task:
    """Rows of a pool and a test set with labels 0..C-1, and the encoder for them."""

    name: str
    pool: Any
    pool_labels: np.ndarray
    test: Any
    test_labels: np.ndarray
    backbone: Backbone

    @property
    def classes(self) -> int:
        return int(self.pool_labels.max()) + 1


def tasks(only: str) -> Iterator[Task]:
    """The data sets of the study whose name holds `only`."""
    for group, names in ((section_tasks, SECTIONS), (vector_tasks, VECTORS)):
        if any(only in name for name in names):
            yield from (task for task in group() if only in task.name)


def section_tasks() -> Iterator[Task]:
    """Descriptions of Debian packages: all classes, and two choices of eight."""
    text = minilm()
    data = open_dataset(DataConfig())
    rows = [*data.pool.take(np.arange(len(data.pool))), *data.test.take(np.arange(len(data.test)))]
    labels = np.concatenate([data.oracle.buy(np.arange(len(data.pool))), data.test_labels])
    by_size = np.argsort(-np.bincount(labels), kind="stable")
    for name, classes in zip(SECTIONS, (by_size, by_size[:8], by_size[-8:]), strict=True):
        kept = np.random.default_rng(0).permutation(np.flatnonzero(np.isin(labels, classes)))
        pool = min(8000, int(0.6 * len(kept)))
        cut = kept[:pool], kept[pool : pool + 2500]
        numbers = [np.searchsorted(np.sort(classes), labels[part]) for part in cut]
        texts = [[rows[row] for row in part] for part in cut]
        yield Task(name, texts[0], numbers[0], texts[1], numbers[1], text)


def vector_tasks() -> Iterator[Task]:
    """Handwritten digits as pixels, and synthetic clusters."""
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.target))
    yield vector_task(VECTORS[0], digits.data[order], digits.target[order].astype(np.int64), 1000, dim=8)
    for name, (separation, dim) in zip(VECTORS[1:], ((4.0, 12), (2.5, 12), (1.5, 12), (2.5, 64)), strict=True):
        yield vector_task(name, *clusters(separation), 4000, dim)


def vector_task(name: str, vectors: np.ndarray, labels: np.ndarray, pool: int, dim: int) -> Task:
    """A task whose first rows are the pool."""
    backbone = VectorBackbone(vectors[:pool], dim)
    return Task(name, vectors[:pool], labels[:pool], vectors[pool:], labels[pool:], backbone)


def clusters(separation: float, rows: int = 6500, classes: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian clusters in 12 dimensions, beside 24 louder dimensions that say nothing, mixed by a random net.

    Centres lie `separation` times a unit Gaussian apart; a row's own spread is 1 and the other dimensions' is 2.
    """
    rng = np.random.default_rng(5)
    labels = rng.integers(0, classes, rows)
    latent = separation * rng.standard_normal((classes, 12))[labels] / np.sqrt(2) + rng.standard_normal((rows, 12))
    latent = np.concatenate([latent, 2 * rng.standard_normal((rows, 24))], axis=1)
    hidden = np.tanh(latent @ rng.standard_normal((36, 128)) / np.sqrt(36))
    return hidden @ rng.standard_normal((128, 64)) / np.sqrt(128), labels
