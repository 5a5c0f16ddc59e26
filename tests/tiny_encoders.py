"""Encoders with random weights, built on the spot: seconds of work, no network, no files kept."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPConfig,
    CLIPModel,
    ConvNextConfig,
    ConvNextModel,
    Dinov2Config,
    Dinov2Model,
    ResNetConfig,
    ResNetModel,
    ViTConfig,
    ViTModel,
)

from asvp.models.quiet import quiet_transformers

_TEXT = (
    "python library tool server game editor web mail audio video data network text image fast small "
    "simple free open kernel driver module shell file system sound music chat read write plot parse "
    "for the of and with a to in"
)
WORDS = _TEXT.split()
"""The vocabulary of the tiny text encoder: one token a word."""


def tiny_text_encoder(folder: Path, *, seed: int = 0, **options: Any) -> Path:
    """Write a BERT of 2 layers and width 32 with its WordPiece tokenizer; `options` change its configuration."""
    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = folder / "vocab.txt"
    letters = [f"##{letter}" for letter in "abcdefghijklmnopqrstuvwxyz0123456789"]
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *letters, *(letter[2:] for letter in letters[1:])]
    tokens = list(dict.fromkeys(tokens))
    vocabulary.write_text("\n".join(tokens) + "\n", encoding="utf-8")
    settings: dict[str, Any] = {
        "vocab_size": len(tokens),
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": 64,
        **options,
    }
    _save(BertModel, BertConfig(**settings), folder, seed)
    BertTokenizer(vocab=str(vocabulary), model_max_length=64).save_pretrained(folder)
    return folder


def tiny_texts(rows: int, *, seed: int = 0, classes: int = 3) -> tuple[list[str], list[int]]:
    """Texts of 1 to 9 words and their labels; a text's words come mostly from its class's share of the vocabulary."""
    generator = torch.Generator().manual_seed(seed)
    texts, labels = [], []
    for row in range(rows):
        label = row % classes
        own = WORDS[label::classes]
        length = int(torch.randint(1, 10, (1,), generator=generator))
        words = [
            (own if float(torch.rand(1, generator=generator)) < 0.8 else WORDS)[
                int(torch.randint(0, len(own), (1,), generator=generator))
            ]
            for _ in range(length)
        ]
        texts.append(" ".join(words))
        labels.append(label)
    return texts, labels


_IMAGE_SIZE = 32
_SMALL: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
_PATCHES: dict[str, Any] = {**_SMALL, "image_size": _IMAGE_SIZE, "patch_size": 8}
_STAGES: dict[str, Any] = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_SQUARE = {"size": {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE}}
_CROP = {
    "size": {"shortest_edge": _IMAGE_SIZE},
    "crop_size": {"height": _IMAGE_SIZE, "width": _IMAGE_SIZE},
    "do_center_crop": True,
}
IMAGE_FAMILIES = ("vit", "dinov2", "clip", "resnet", "convnext")


def tiny_image_encoder(folder: Path, family: str = "vit", *, seed: int = 0) -> Path:
    """Write an image model of width 32 for pictures of 32 x 32, with its image processor's file."""
    folder.mkdir(parents=True, exist_ok=True)
    tower = {**_PATCHES, "intermediate_size": 64}
    words = {**_SMALL, "intermediate_size": 64, "vocab_size": 50, "bos_token_id": 1, "eos_token_id": 2}
    model_class, config, processor, settings = {
        "vit": (ViTModel, ViTConfig(**tower), "ViTImageProcessor", _SQUARE),
        "dinov2": (Dinov2Model, Dinov2Config(**_PATCHES), "BitImageProcessor", _CROP),
        "clip": (
            CLIPModel,
            CLIPConfig(text_config=words, vision_config=tower, projection_dim=16),
            "CLIPImageProcessor",
            _CROP,
        ),
        "resnet": (
            ResNetModel,
            ResNetConfig(**_STAGES, embedding_size=8, layer_type="basic"),
            "ConvNextImageProcessor",
            {"size": {"shortest_edge": _IMAGE_SIZE}},
        ),
        "convnext": (
            ConvNextModel,
            ConvNextConfig(**_STAGES),
            "ConvNextImageProcessor",
            {"size": {"shortest_edge": _IMAGE_SIZE}},
        ),
    }[family]
    _save(model_class, config, folder, seed)
    written = {"image_processor_type": processor, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(written), encoding="utf-8")
    return folder


def tiny_images(rows: int, *, seed: int = 0, classes: int = 3) -> tuple[list[bytes], list[int]]:
    """PNG pictures of differing sizes and their labels; a class has a colour of its own under the noise."""
    generator = np.random.default_rng(seed)
    images, labels = [], []
    for row in range(rows):
        label = row % classes
        height, width = generator.integers(24, 80, 2)
        pixels = generator.integers(0, 100, (height, width, 3))
        pixels[..., label % 3] += 120
        buffer = io.BytesIO()
        Image.fromarray(pixels.astype(np.uint8)).save(buffer, "PNG")
        images.append(buffer.getvalue())
        labels.append(label)
    return images, labels


def _save(model_class: Any, config: Any, folder: Path, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        model_class(config).save_pretrained(folder)
