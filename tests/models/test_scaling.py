"""What a checkpoint's image processor makes of pixels is what the model is given."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from PIL import Image
from tiny_encoders import tiny_image_encoder, tiny_images
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import AutoImageProcessor, AutoModel, EfficientNetConfig, EfficientNetModel

from asvp.config import EncoderConfig, TrainingConfig
from asvp.data.pixels import ByProcessor
from asvp.errors import EncoderError
from asvp.models.encoder import Encoder, check_encoder, encoder_spec_fingerprint
from asvp.models.encoder.scaling import scaling_of
from asvp.models.encoder.steps import steps_of
from asvp.models.training.finetune import fine_tune

IMAGES, LABELS = tiny_images(6)
SIDE = 64
STDS = [0.47853944, 0.4732864, 0.47434163]
EFFICIENT: dict[str, dict[str, Any]] = {
    "by default": {},
    "divided again": {"include_top": True, "rescale_offset": False},
    "shifted": {"include_top": False, "rescale_offset": True, "rescale_factor": 1 / 127.5},
    "shifted and divided again": {"include_top": True, "rescale_offset": True, "rescale_factor": 1 / 127.5},
    "divided alone": {"include_top": True, "do_normalize": False},
    "ordinary": {"include_top": False, "rescale_offset": False},
}


def efficientnet(folder: Path, **settings: object) -> Path:
    folder.mkdir()
    torch.manual_seed(0)
    config = EfficientNetConfig(
        width_coefficient=0.1, depth_coefficient=0.1, hidden_dim=128, image_size=SIDE, initializer_range=0.6
    )
    EfficientNetModel(config).save_pretrained(folder)
    processor = {
        "image_processor_type": "EfficientNetImageProcessor",
        "size": {"height": SIDE, "width": SIDE},
        "resample": 2,
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": STDS,
        **settings,
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return folder


def load(folder: Path) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder), pooling="pooler", dtype="float32"), "image", device="cpu")


@pytest.mark.parametrize("name", EFFICIENT)
def test_efficientnets_get_what_their_processor_makes(name: str, tmp_path: Path) -> None:
    folder = efficientnet(tmp_path / "efficientnet", **EFFICIENT[name])
    encoder = load(folder)
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    pictures = [Image.open(io.BytesIO(image)).convert("RGB") for image in IMAGES]
    wanted = processor(images=pictures, return_tensors="pt")
    found = encoder.inputs.on_device(encoder.inputs.collate(IMAGES, np.arange(len(IMAGES))))["pixel_values"]
    torch.testing.assert_close(found, wanted["pixel_values"], atol=2e-6, rtol=1e-6)
    with torch.no_grad():
        expected = AutoModel.from_pretrained(folder).eval()(**wanted).pooler_output.flatten(1).numpy()
    np.testing.assert_allclose(encoder.encode(IMAGES), expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())
    # So that tensors can take them too, on whatever device.
    assert steps_of(processor, ByProcessor(processor, SIDE)) is not None


def test_features_that_were_wrong_have_another_key_and_others_have_theirs(tmp_path: Path) -> None:
    for name in ("divided again", "ordinary"):
        folder = efficientnet(tmp_path / name, **EFFICIENT[name])
        encoder = load(folder)
        key = encoder.fingerprint()
        assert key == encoder_spec_fingerprint(encoder.config, "image", device="cpu")
        encoder.inputs.scaling = replace(encoder.inputs.scaling, measured=False)
        assert (encoder.fingerprint() == key) == (name == "ordinary")


@pytest.mark.parametrize("family", ["vit", "dinov2", "clip", "convnext"])
def test_of_ordinary_processors_pixels_keep_every_bit(family: str, tmp_path: Path) -> None:
    inputs = load(tiny_image_encoder(tmp_path, family)).inputs
    processor, levels = inputs.processor, torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16).expand(2, 3, 16, 16)
    mean, deviation = (torch.tensor(some).view(1, -1, 1, 1) for some in (processor.image_mean, processor.image_std))
    expected = (levels.float() * processor.rescale_factor - mean) / deviation
    assert torch.equal(inputs.on_device({"pixel_values": levels})["pixel_values"], expected)
    assert not inputs.scaling.measured


def test_a_processor_that_only_rescales_or_does_nothing() -> None:
    levels = torch.arange(48, dtype=torch.uint8).view(1, 3, 4, 4)
    for settings, expected in (
        ({"do_normalize": False}, levels.float() / 255),
        ({"do_normalize": False, "do_rescale": False}, levels.float()),
    ):
        processor = transformers.ViTImageProcessorPil(size={"height": 32, "width": 32}, **settings)
        found = scaling_of(processor, ByProcessor(processor, 32))(levels)
        torch.testing.assert_close(found, expected)


def test_a_processor_whose_output_cannot_be_had_is_refused(tmp_path: Path) -> None:
    folder = tiny_image_encoder(tmp_path / "vit")
    settings = {"image_processor_type": "Owlv2ImageProcessor", "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    with pytest.raises(EncoderError, match=r"encoder\.model: its image processor does more .*Set do_rescale"):
        check_encoder(EncoderConfig(model=str(folder)), "image", device="cpu")


@pytest.mark.parametrize("change", [lambda image: image**2, lambda image: image * 0, lambda image: image[:1]])
def test_what_is_not_in_proportion_is_refused(change: Any) -> None:
    class Odd(transformers.ViTImageProcessorPil):
        def normalize(self, image: np.ndarray, *arguments: object, **options: object) -> np.ndarray:
            changed: np.ndarray = change(super().normalize(image, *arguments, **options))
            return changed

    processor = Odd(size={"height": 32, "width": 32})
    with pytest.raises(EncoderError, match=r"encoder\.model"):
        scaling_of(processor, ByProcessor(processor, 32))


def test_mean_and_deviation_go_to_the_device_once_and_serve_trainings_too(tmp_path: Path) -> None:
    made: list[str] = []

    class Watching(TorchFunctionMode):
        def __torch_function__(self, function: Any, types: Any, arguments: Any = (), options: Any = None) -> Any:
            if function in (torch.tensor, torch.as_tensor, Tensor.to) and isinstance(arguments[0], (list, tuple)):
                made.append(function.__name__)
            return function(*arguments, **(options or {}))

    encoder = load(tiny_image_encoder(tmp_path, "resnet"))
    encoder.encode(IMAGES)
    with Watching():
        encoder.encode(IMAGES * 20)
    assert made == []
    config = TrainingConfig(epochs=1, batch_size=3, augment=False)
    fine_tune(encoder, IMAGES, np.array(LABELS), classes=3, config=config, seed=0)
