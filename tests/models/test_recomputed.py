"""Gradient checkpointing: the same weights, with fewer activations kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_image_encoder, tiny_images, tiny_text_encoder, tiny_texts

from asvp.config import EncoderConfig, TrainingConfig
from asvp.errors import ConfigError
from asvp.models.encoder import Encoder, check_encoder
from asvp.models.training.finetune import fine_tune
from asvp.models.training.recomputed import recomputed_activations

TEXTS, LABELS = tiny_texts(24)
LABELS = np.array(LABELS)
CONFIG = TrainingConfig(epochs=2, batch_size=8, lr=1e-3, head_lr=1e-2)


def trained(folder: Path, dtype: str = "float32", **options: object) -> Encoder:
    encoder = Encoder.load(EncoderConfig(model=str(folder), dtype=dtype), "text", device="cpu")
    config = CONFIG.model_copy(update=options)
    fine_tune(encoder, TEXTS, LABELS, classes=3, config=config, seed=4)
    return encoder


def kept(encoder: Encoder) -> int:
    """Bytes of activations that a forward pass keeps for the gradient."""
    tensors = encoder.inputs.collate(encoder.inputs.read(TEXTS), np.arange(24))
    weights = {parameter.untyped_storage().data_ptr() for parameter in encoder.model.parameters()}
    found: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # Held, so that no other tensor gets its place.
        found[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        encoder.features(tensors)
    return sum(tensor.untyped_storage().nbytes() for place, tensor in found.items() if place not in weights)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_weights_are_the_same_with_dropout_too(tmp_path: Path, dtype: str) -> None:
    folder = tiny_text_encoder(tmp_path / "text", hidden_dropout_prob=0.2)
    plain, encoder = trained(folder, dtype).state(), trained(folder, dtype, checkpointing=True)
    for name, array in encoder.state().items():
        np.testing.assert_allclose(array, plain[name], rtol=0, atol=1e-6, err_msg=name)


def test_images_are_trained_on_alike(tmp_path: Path) -> None:
    folder = tiny_image_encoder(tmp_path / "vit")
    images, labels = tiny_images(9)
    states = []
    for checkpointing in (False, True):
        encoder = Encoder.load(EncoderConfig(model=str(folder)), "image", device="cpu")
        config = CONFIG.model_copy(update={"checkpointing": checkpointing})
        fine_tune(encoder, images, np.array(labels), classes=3, config=config, seed=4)
        states.append(encoder.state())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, rtol=0, atol=1e-6, err_msg=name)


def test_a_layers_inputs_are_kept_and_little_else_while_it_lasts(tmp_path: Path) -> None:
    folder = tiny_text_encoder(tmp_path / "text", num_hidden_layers=6)
    encoder = Encoder.load(EncoderConfig(model=str(folder)), "text", device="cpu")
    encoder.model.train()
    plain = kept(encoder)
    with recomputed_activations(encoder.model, wanted=True):
        assert kept(encoder) < plain / 4
    assert kept(encoder) == plain


def test_an_encoder_without_it_is_refused_before_anything_is_trained(tmp_path: Path) -> None:
    folder = tiny_image_encoder(tmp_path / "resnet", "resnet")
    encoder = Encoder.load(EncoderConfig(model=str(folder)), "image", device="cpu")
    before = encoder.state()
    images, labels = tiny_images(6)
    config = CONFIG.model_copy(update={"checkpointing": True})
    with pytest.raises(ConfigError, match=r"training\.checkpointing: .*ResNetModel"):
        fine_tune(encoder, images, np.array(labels), classes=3, config=config, seed=0)
    with pytest.raises(ConfigError, match=r"training\.checkpointing: .*ResNetModel"):
        check_encoder(EncoderConfig(model=str(folder)), "image", checkpointing=True)
    check_encoder(EncoderConfig(model=str(folder)), "image")
    assert all(np.array_equal(before[name], array) for name, array in encoder.state().items())
