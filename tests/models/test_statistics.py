"""After a fine-tune BatchNorm knows all training rows, whatever momentum the checkpoint has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_image_encoder, tiny_images
from torch import nn

from asvp.config import EncoderConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.models.training.finetune import fine_tune

ROWS, LABELS = tiny_images(11)
LABELS = np.array(LABELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_image_encoder(tmp_path_factory.mktemp("tiny") / "resnet", "resnet")


def trained(folder: Path, *, momentum: float = 0.1, batch_size: int = 4, micro_batch: int | None = None) -> Encoder:
    encoder = Encoder.load(EncoderConfig(model=str(folder), pooling="pooler"), "image", device="cpu")
    for norm in norms(encoder):
        norm.momentum = momentum
    training = TrainingConfig(epochs=2, batch_size=batch_size, lr=1e-3, augment=False)
    fine_tune(encoder, ROWS, LABELS, classes=3, config=training, seed=0, micro_batch=micro_batch)
    return encoder


def norms(encoder: Encoder) -> list[nn.BatchNorm2d]:
    return [module for module in encoder.model.modules() if isinstance(module, nn.BatchNorm2d)]


def test_statistics_are_those_of_all_rows_under_the_final_weights(folder: Path) -> None:
    encoder = trained(folder, momentum=0.99, batch_size=len(ROWS))
    first = norms(encoder)[0]
    seen: list[torch.Tensor] = []
    hook = first.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].detach()))
    encoder.encode(ROWS)
    hook.remove()
    values = torch.cat(seen).transpose(0, 1).flatten(1)
    torch.testing.assert_close(first.running_mean, values.mean(1), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(first.running_var, values.var(1), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("micro_batch", [None, 3])
def test_the_checkpoints_momentum_decides_nothing(folder: Path, micro_batch: int | None) -> None:
    states = [trained(folder, momentum=momentum, micro_batch=micro_batch).state() for momentum in (0.1, 0.99)]
    assert all(np.array_equal(states[0][name], states[1][name]) for name in states[0])


def test_layers_are_left_as_they_were_found(folder: Path) -> None:
    encoder = trained(folder, momentum=0.3)
    assert {norm.momentum for norm in norms(encoder)} == {0.3}
    assert not any(module.training for module in encoder.model.modules())
