"""Attention masks of padded texts, made without asking the device whether there is padding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionMaskInterface
from transformers.masking_utils import sdpa_mask

_PADDED: ContextVar[torch.Size | None] = ContextVar("_PADDED", default=None)
"""Shape of the mask of the batch that is in the forward pass, if it is known that some of its tokens are padding."""


@contextmanager
def known_padding(mask: Tensor | None) -> Iterator[None]:
    """Within, transformers need not look at a batch's mask to know that it has padding.

    It does so for every batch, as without padding its attention needs no mask, and a look at a number on a GPU waits
    for all that was queued there. A mask of the CPU is looked at here. Only padding is told: of a batch that has none a
    model may still make a mask that leaves tokens out, so such batches are looked at by transformers as before, and
    masks, features and gradients are the same to the bit.

    Parameters
    ----------
    mask : Tensor or None
        (n, T) int64, of the tokens that count. None, or one that is on a GPU already: nothing is known.
    """
    known = mask is not None and mask.device.type == "cpu" and not bool(mask.all())
    before = _PADDED.set(mask.shape if mask is not None and known else None)
    try:
        yield
    finally:
        _PADDED.reset(before)


def _mask(*arguments: Any, **options: Any) -> Tensor | None:
    """As transformers makes it for PyTorch's fused attention, but for a look at a batch that is known to be padded."""
    mask = options.get("attention_mask")
    # What is compiled is not looked at anyway.
    if mask is not None and not torch.compiler.is_compiling() and mask.shape == _PADDED.get():
        options.update(allow_is_causal_skip=False, allow_is_bidirectional_skip=False)
    return sdpa_mask(*arguments, **options)


AttentionMaskInterface.register("sdpa", _mask)
