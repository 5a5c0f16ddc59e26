"""Families of models that transformers offers, each tiny and random, work from the check to the saved classifier.

Families that are no encoders of texts or images alone are refused by the check, in words.
"""

from __future__ import annotations

import json
import shutil
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from tiny_encoders import tiny_images, tiny_text_encoder, tiny_texts

from asvp.config import EncoderConfig, TrainingConfig
from asvp.errors import EncoderError
from asvp.models.classifier import Classifier
from asvp.models.encoder import Encoder, check_encoder, encoder_spec_fingerprint, resolve_dtype
from asvp.models.quiet import quiet_transformers
from asvp.models.training.finetune import fine_tune

TEXTS, TEXT_LABELS = tiny_texts(8)
IMAGES, IMAGE_LABELS = tiny_images(8)
SIDE = 64

_LAYERS = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
_BERT = {**_LAYERS, "max_position_embeddings": 70, "pad_token_id": 0}
_T5 = {"d_model": 32, "d_kv": 16, "d_ff": 64, "num_layers": 2, "num_heads": 2, "pad_token_id": 0}
_BART = {
    "d_model": 32,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": 70,
    "pad_token_id": 0,
}
_LLAMA = {**_LAYERS, "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 70, "pad_token_id": 0}
_PATCHES = {**_LAYERS, "image_size": SIDE, "patch_size": 16}
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}

TEXT_FAMILIES: dict[str, dict[str, Any]] = {
    "Bert": _BERT,
    "Roberta": _BERT,
    "XLMRoberta": _BERT,
    "Camembert": _BERT,
    "Electra": {**_BERT, "embedding_size": 32},
    "Albert": {**_BERT, "embedding_size": 16},
    "DebertaV2": {**_BERT, "relative_attention": True, "pos_att_type": ["c2p", "p2c"]},
    "DistilBert": {"dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 64, "max_position_embeddings": 70},
    "MPNet": _BERT,
    "ModernBert": {**_BERT, "local_attention": 8},
    "RoFormer": {**_BERT, "embedding_size": 32},
    "XLNet": {"d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 64, "pad_token_id": 0},
    "T5": _T5,
    "MT5": _T5,
    "UMT5": _T5,
    "Bart": _BART,
    "GPT2": {"n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 70},
    "Llama": _LLAMA,
    "Qwen3": _LLAMA,
    "Gemma3Text": {**_LLAMA, "sliding_window": 16, "query_pre_attn_scalar": 16},
}
# With the small weights of a fresh model nothing is left of an image after so many narrow convolutions.
_WIDE = {"initializer_range": 0.5}
IMAGE_FAMILIES: dict[str, dict[str, Any]] = {
    "ViT": _PATCHES,
    "DeiT": _PATCHES,
    "Beit": _PATCHES,
    "ViTMSN": _PATCHES,
    "IJepa": _PATCHES,
    "Dinov2WithRegisters": {**_PATCHES, "num_register_tokens": 2},
    "DINOv3ViT": {**_PATCHES, "num_register_tokens": 2},
    "SiglipVision": _PATCHES,
    "Swin": {
        "image_size": SIDE,
        "patch_size": 4,
        "embed_dim": 8,
        "depths": [1, 1],
        "num_heads": [1, 2],
        "window_size": 4,
    },
    "ResNet": {**_STAGES, "embedding_size": 8, "layer_type": "basic"},
    "RegNet": {**_STAGES, "embedding_size": 8, "groups_width": 8},
    "ConvNextV2": _STAGES,
    "EfficientNet": {
        "width_coefficient": 0.1,
        "depth_coefficient": 0.1,
        "hidden_dim": 128,
        "image_size": SIDE,
        "initializer_range": 0.6,
    },
    "MobileNetV1": {"depth_multiplier": 0.25, **_WIDE},
    "MobileNetV2": {"depth_multiplier": 0.25, **_WIDE},
    "MobileViT": {
        "image_size": SIDE,
        "hidden_sizes": [16, 16, 16],
        "neck_hidden_sizes": [8, 8, 8, 16, 16, 16, 32],
        **_WIDE,
    },
    "Segformer": {"hidden_sizes": [8, 8, 16, 32], "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]},
    "Pvt": {
        **_STAGES,
        "image_size": SIDE,
        "num_attention_heads": [1, 2, 2, 2],
        "sequence_reduction_ratios": [8, 4, 2, 1],
    },
    "PoolFormer": _STAGES,
    "Cvt": {"embed_dim": [8, 16, 32], "depth": [1, 2, 3], "num_heads": [1, 2, 2]},
    "SwiftFormer": {"depths": [1, 1, 1, 1], "embed_dims": [8, 16, 24, 32]},
    "FocalNet": {"image_size": SIDE, "embed_dim": 8, "depths": [1, 1], "focal_levels": [1, 1], "focal_windows": [3, 3]},
}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "FNet": ("text", _BERT, "does not heed the attention mask"),
    "Marian": ("text", _BART, "encoder-decoder cannot be used alone"),
    "M2M100": ("text", _BART, "encoder-decoder cannot be used alone"),
    "DPR": ("text", _BERT, r"encoder\.pooling.*Use pooler"),
    "ViTMAE": ("image", _PATCHES, "draws random numbers"),
    "VideoMAE": ("image", {**_PATCHES, "num_frames": 2}, "cannot be run on images alone"),
    "Whisper": ("text", _BART, "is a model for input_features"),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text_encoder(tmp_path_factory.mktemp("tokenizer"))


def write(folder: Path, family: str, settings: dict[str, Any], tokenizer: Path) -> Path:
    """A checkpoint with random weights, the tiny tokenizer and an image processor."""
    vocabulary = len(json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"])
    config_class = getattr(transformers, f"{family}Config")
    told = {**settings, "vocab_size": vocabulary}
    # Token numbers by default are those of the real vocabularies, which the tiny one does not have.
    for name in ("bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id", "decoder_start_token_id"):
        told.setdefault(name, 2)
    if config_class.model_type in ("vit", "beit") or "vocab_size" not in config_class().to_dict():
        told = settings
    config = config_class(**told)
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(0)
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    for path in tokenizer.glob("tokenizer*"):
        shutil.copy(path, folder)
    processor = {"image_processor_type": "ViTImageProcessor", "size": {"height": SIDE, "width": SIDE}}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return folder


@pytest.mark.parametrize("family", [*TEXT_FAMILIES, *IMAGE_FAMILIES])
def test_a_family_works_from_the_check_to_the_saved_classifier(
    family: str, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same on all machines: two of these are wide enough for a processor's bfloat16.
    monkeypatch.setattr("asvp.models.precision.cpu_has_bfloat16", lambda: False)
    kind = "text" if family in TEXT_FAMILIES else "image"
    rows, labels = (TEXTS, TEXT_LABELS) if kind == "text" else (IMAGES, IMAGE_LABELS)
    folder = write(tmp_path / "pretrained", family, {**TEXT_FAMILIES, **IMAGE_FAMILIES}[family], tokenizer)
    config = EncoderConfig(model=str(folder), pooling="auto", max_length=16)

    check_encoder(config, kind, rows if kind == "text" else ())
    assert resolve_dtype(config, kind, device="cpu") == "float32"
    encoder = Encoder.load(config, kind, device="cpu")
    assert encoder.fingerprint() == encoder_spec_fingerprint(config, kind, device="cpu")
    features = encoder.encode(rows)
    assert features.shape == (8, encoder.dim)
    assert np.isfinite(features).all()
    with monkeypatch.context() as patched:
        # It is the same whether a batch is known to be padded, or the model looks.
        patched.setattr("asvp.models.encoder.encoder.known_padding", lambda mask, unaltered: nullcontext())
        np.testing.assert_array_equal(encoder.encode(rows), features)
        alone = encoder.encode(rows[5:6])
    np.testing.assert_array_equal(encoder.encode(rows[5:6]), alone)
    # A row's feature is its own, whatever is beside it.
    # (A random MobileNetV2 turns last bits into some percent.)
    assert np.linalg.norm(encoder.encode(rows[5:6])[0] - features[5]) < 0.1 * np.linalg.norm(features[5])
    assert len(np.unique(features.round(6), axis=0)) == 8

    before = encoder.state()
    training = TrainingConfig(epochs=1, batch_size=4, lr=1e-3, augment=False)
    head = fine_tune(encoder, rows, np.array(labels), classes=3, config=training, seed=0)
    after = encoder.state()
    assert any(not np.array_equal(before[name], after[name]) for name in before)

    classifier = Classifier(encoder, head, ["a", "b", "c"])
    classifier.save(tmp_path / "saved")
    again = Classifier.load(tmp_path / "saved", device="cpu")
    np.testing.assert_array_equal(again.probabilities(rows), classifier.probabilities(rows))


@pytest.mark.parametrize("family", REFUSED)
def test_what_is_no_encoder_of_such_rows_alone_is_refused_by_the_check(
    family: str, tokenizer: Path, tmp_path: Path
) -> None:
    kind, settings, words = REFUSED[family]
    folder = write(tmp_path, family, settings, tokenizer)
    with pytest.raises(EncoderError, match=words):
        check_encoder(EncoderConfig(model=str(folder), pooling="auto", max_length=16), kind)
