"""Rows multiplied block by block: bounded memory, and scores that do not depend on the number of threads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from asvp.errors import SelectionError
from asvp.models.threads import cpu_threads

_CPU_BLOCK = 512
_GPU_BLOCK = 8192
"""Rows multiplied at once: a block of activations stays near the cache, and memory stays bounded."""


def for_each_block(features: np.ndarray, dim: int, device: torch.device, work: Callable[[slice, Tensor], None]) -> None:
    """Give blocks of rows, of an array or a tensor, to a function as float32 tensors on the device, with their places.

    On a CPU, products of few rows or columns round differently on another number of threads, and the last bit of a
    score can turn into another pick. So blocks have one size, each is multiplied on one thread, and threads share out
    the blocks.

    Raises
    ------
    SelectionError
        If the features are not (n, `dim`).
    """
    if features.ndim != 2 or features.shape[1] != dim:
        raise SelectionError(
            f"the model was fitted on features of width {dim}",
            key="features",
            value=features.shape,
            mend="Score features of the encoder it was fitted on",
        )
    on_cpu = device.type == "cpu"
    size = _CPU_BLOCK if on_cpu else _GPU_BLOCK
    places = [slice(start, min(start + size, len(features))) for start in range(0, len(features), size)]

    def do(place: slice) -> None:
        with cpu_threads(1 if on_cpu else None), torch.inference_mode():
            work(place, _copied(features[place], device))

    threads = min(torch.get_num_threads(), len(places)) if on_cpu else 1
    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(do, places))
    else:
        for place in places:
            do(place)


def _copied(rows: np.ndarray | Tensor, device: torch.device) -> Tensor:
    """Rows as float32 on the device, a copy: views on the object store are read-only, and tensors cannot be."""
    if isinstance(rows, Tensor):
        return rows.to(device, torch.float32, copy=True)
    return torch.tensor(rows, dtype=torch.float32, device=device)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Softmax over the last axis, float32."""
    shifted = np.exp(logits - logits.max(1, keepdims=True), dtype=np.float32)
    return np.asarray(shifted / shifted.sum(1, keepdims=True), dtype=np.float32)
