"""What the benchmarks of throughput hold the product against: loops that all write, and what the device can do."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
"""Rows of a batch of the loops over texts, as most of them have it."""


def bare_forward(folder: Path, batches: Callable[[], Sequence[dict[str, Any]]], device: str) -> Callable[[], None]:
    """What does the forward pass alone, in bfloat16, of inputs that are on the device.

    Parameters
    ----------
    folder : Path
        Checkpoint.
    batches : callable
        Makes the inputs, by name.
    device : str
    """
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).to(device).eval()
    ready = batches()

    def work() -> None:
        with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
            for inputs in ready:
                model(**inputs)

    return work


def transformers_loop(folder: Path, texts: list[str], tokens: int, device: str) -> Callable[[], None]:
    """The loop with transformers alone: batches in order, padded to their longest, means copied back one by one.

    Parameters
    ----------
    folder : Path
        Checkpoint of a BERT, with its tokenizer.
    texts : list of str
    tokens : int
        Kept of a text.
    device : str
    """
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, add_pooling_layer=False).to(device).eval()

    def work() -> None:
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(
                texts[start : start + BATCH], padding=True, truncation=True, max_length=tokens, return_tensors="pt"
            ).to(device)
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
                hidden = model(**batch).last_hidden_state
            weights = batch["attention_mask"].unsqueeze(2).float()
            ((hidden.float() * weights).sum(1) / weights.sum(1)).cpu()

    return work


def has_sentence_transformers() -> bool:
    """Whether the package is installed."""
    return importlib.util.find_spec("sentence_transformers") is not None


def sentence_transformers(folder: Path, texts: list[str], tokens: int, device: str) -> Callable[[], None]:
    """What calls `SentenceTransformer.encode` in bfloat16."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    words = Transformer(str(folder), max_seq_length=tokens)
    model = SentenceTransformer(modules=[words, Pooling(_width(words))], device=device).to(torch.bfloat16)
    return lambda: model.encode(texts, batch_size=BATCH, show_progress_bar=False)


def _width(words: Any) -> int:
    # The method has another name since version 5.
    named = getattr(words, "get_embedding_dimension", None) or words.get_word_embedding_dimension
    return int(named())


def forward_flops(model: Any, lengths: np.ndarray) -> float:
    """Floating-point operations of a forward pass of a BERT or ViT, a mean of rows.

    Parameters
    ----------
    model : PreTrainedConfig
    lengths : (n,) int
        Tokens of each row.

    Returns
    -------
    float
        Two for each multiplication with its addition, of the layers' matrices and of attention; the rest is small.
    """
    hidden, inner = model.hidden_size, model.intermediate_size
    matrices = 2.0 * lengths * (4 * hidden * hidden + 2 * hidden * inner)
    attention = 4.0 * lengths.astype(np.float64) ** 2 * hidden
    return float(model.num_hidden_layers * (matrices + attention).mean())


def image_flops(model: Any) -> float:
    """The same of a ViT's forward pass of one image, the projection of its patches included.

    Parameters
    ----------
    model : PreTrainedConfig
        Of a ViT with one class token.
    """
    patches = (model.image_size // model.patch_size) ** 2
    projection = 2.0 * patches * model.num_channels * model.patch_size**2 * model.hidden_size
    return projection + forward_flops(model, np.array([patches + 1]))


def training_flops(forward: float) -> float:
    """Of a training step, by those of its forward pass: the gradients of inputs and of weights take one such each."""
    return 3.0 * forward


def device_flops(device: str, size: int) -> float:
    """Floating-point operations a second of one product of square bfloat16 matrices: what the device can do at most."""
    import torch

    left, right = (torch.rand((size, size), device=device, dtype=torch.bfloat16) for _ in range(2))

    def products(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    products(3)
    return 10 * 2.0 * size**3 / products(10)
