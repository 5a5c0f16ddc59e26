"""What the benchmarks of throughput hold the product against: loops that all write, and what the device can do."""

from __future__ import annotations

import importlib.util
import time
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 64
"""Rows of a batch of the loops, as most of them have it."""


def transformers_loop(folder: Path, texts: list[str], tokens: int, device: str) -> float:
    """Rows a second of transformers alone: batches in order, padded to their longest, means copied back one by one.

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
    model = AutoModel.from_pretrained(folder).to(device).eval()

    def features(rows: list[str]) -> None:
        for start in range(0, len(rows), BATCH):
            batch = tokenizer(
                rows[start : start + BATCH], padding=True, truncation=True, max_length=tokens, return_tensors="pt"
            ).to(device)
            with torch.inference_mode(), torch.autocast(device, torch.bfloat16):
                hidden = model(**batch).last_hidden_state
            weights = batch["attention_mask"].unsqueeze(2).float()
            ((hidden.float() * weights).sum(1) / weights.sum(1)).cpu()

    return _rate(features, texts)


def sentence_transformers(folder: Path, texts: list[str], tokens: int, device: str) -> float | None:
    """Rows a second of `SentenceTransformer.encode` in bfloat16; None where the package is not installed."""
    if importlib.util.find_spec("sentence_transformers") is None:
        return None
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    words = Transformer(str(folder), max_seq_length=tokens)
    pooling = Pooling(words.get_word_embedding_dimension())
    model = SentenceTransformer(modules=[words, pooling], device=device).to(torch.bfloat16)
    return _rate(lambda rows: model.encode(rows, batch_size=BATCH, show_progress_bar=False), texts)


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


def _rate(work: Any, texts: list[str]) -> float:
    work(texts[: 4 * BATCH])
    began = time.perf_counter()
    work(texts)
    return len(texts) / (time.perf_counter() - began)
