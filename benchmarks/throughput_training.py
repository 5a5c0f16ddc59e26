"""Fine-tuning against a plain loop: what texts and images have in common."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from throughput_measure import Meter, Record
from torch import Tensor, nn

from asvp.config import EncoderConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.models.training.finetune import fine_tune

CLASSES = 33
_RATE = 1e-4

Batches = Iterator[tuple[dict[str, Tensor], Tensor]]
"""Inputs of a model, by name, and classes, on the device, one batch after the other without end."""


@dataclass(frozen=True)
class Task:
    """What is trained on what; labels are drawn up from the numbers of rows.

    Attributes
    ----------
    encoder : EncoderConfig
    kind : {"text", "image"}
    rows : list of str or bytes
    batch : int
        Rows of a step.
    epochs : int
        Of the product's trainings.
    plain_steps : int
        Of the plain loop, each time.
    """

    encoder: EncoderConfig
    kind: Any
    rows: Any
    batch: int
    epochs: int
    plain_steps: int

    @property
    def labels(self) -> np.ndarray:
        """Classes (N,) int64 of the rows."""
        return np.arange(len(self.rows)) % CLASSES

    @property
    def steps(self) -> int:
        """Of one of the product's trainings."""
        return self.epochs * math.ceil(len(self.rows) / self.batch)


def training(record: Record, meter: Meter, task: Task, batches: Callable[[], Batches], device: str) -> None:
    """Steps a second: of the product's fine-tune from the rows as they are, its start included, and of a plain loop."""
    group = "train"
    flops = record.groups[group].flops
    record.take(group, "asvp", lambda: meter.measure(lambda: _product(task, device), task.steps, flops, anew=True))
    record.take(
        group, "plain loop", lambda: meter.measure(lambda: _plain(task, batches(), device), task.plain_steps, flops)
    )


def endless_order(rows: int, batch: int) -> Iterator[np.ndarray]:
    """Places of the rows of whole batches, in a new order each time around."""
    generator = np.random.default_rng(0)
    while True:
        order = generator.permutation(rows)
        yield from (order[start : start + batch] for start in range(0, rows - batch + 1, batch))


def _product(task: Task, device: str) -> Callable[[], None]:
    encoder = Encoder.load(task.encoder, task.kind, device=device)
    config = TrainingConfig(epochs=task.epochs, batch_size=task.batch, lr=_RATE, augment=False)

    def work() -> None:
        fine_tune(encoder, task.rows, task.labels, classes=CLASSES, config=config, seed=0)

    return work


def _plain(task: Task, batches: Batches, device: str) -> Callable[[], None]:
    """The loop that all write: autocast, the fused AdamW, clipped gradients, and a look at each loss."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(task.encoder.model, add_pooling_layer=False).to(device).train()
    head = nn.Linear(model.config.hidden_size, CLASSES).to(device)
    optimiser = torch.optim.AdamW([*model.parameters(), *head.parameters()], lr=_RATE, fused=True)

    def work() -> None:
        for _ in range(task.plain_steps):
            inputs, targets = next(batches)
            optimiser.zero_grad(set_to_none=True)
            with torch.autocast(device, torch.bfloat16):
                hidden = model(**inputs).last_hidden_state
            loss = nn.functional.cross_entropy(head(_pooled(hidden.float(), inputs)), targets)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            loss.item()

    return work


def _pooled(hidden: Tensor, inputs: dict[str, Tensor]) -> Tensor:
    """The mean over a text's tokens; of an image the class token."""
    if "attention_mask" not in inputs:
        return hidden[:, 0]
    weights = inputs["attention_mask"].unsqueeze(2).float()
    return (hidden * weights).sum(1) / weights.sum(1)
