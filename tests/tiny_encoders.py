"""Encoders with random weights, built on the spot: seconds of work, no network, no files kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import BertConfig, BertModel, BertTokenizer

from pipeline.models.quiet import quiet_transformers

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


def _save(model_class: Any, config: Any, folder: Path, seed: int) -> None:
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        model_class(config).save_pretrained(folder)
