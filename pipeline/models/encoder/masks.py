"""Attention masks of padded texts, made without asking the device whether there is padding."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import sdpa_mask

_KNOWN: ContextVar[tuple[torch.Size, bool] | None] = ContextVar("_KNOWN", default=None)
"""Shape of the mask of the batch that is in the forward pass, and whether some of its tokens are padding, if known."""


@contextmanager
def known_padding(mask: Tensor | None, *, unaltered: bool = True) -> Iterator[None]:
    """Within, transformers need not look at a batch's mask to know whether it has padding.

    It does so for every batch, as without padding its attention needs no mask, and a look at a number on a GPU waits
    for all that was queued there. A mask of the CPU is looked at here. Masks, features and gradients are the same to
    the bit.

    Parameters
    ----------
    mask : Tensor or None
        (n, T) int64, of the tokens that count. None, or one that is on a GPU already: nothing is known.
    unaltered : bool
        Whether the model leaves a mask of n lines and T tokens as it was given. One that does not may leave out tokens
        of a batch without padding, so that such batches must be looked at. See `leaves_masks_unaltered`.
    """
    known = None
    if mask is not None and mask.device.type == "cpu":
        padded = not bool(mask.all())
        known = (mask.shape, padded) if padded or unaltered else None
    before = _KNOWN.set(known)
    try:
        yield
    finally:
        _KNOWN.reset(before)


def leaves_masks_unaltered(model: PreTrainedModel) -> bool:
    """Whether transformers is given the mask that the model was: so do its own models of texts, as of version 5.17."""
    return type(model).__module__.startswith("transformers.")


def _mask(*arguments: Any, **options: Any) -> Tensor | None:
    """As transformers makes it for PyTorch's fused attention, but for a look at a batch of which all is known."""
    mask, known = options.get("attention_mask"), _KNOWN.get()
    # What is compiled is not looked at anyway.
    if mask is not None and known is not None and not torch.compiler.is_compiling() and mask.shape == known[0]:
        if known[1]:
            options.update(allow_is_causal_skip=False, allow_is_bidirectional_skip=False)
        elif options.get("kv_length") == mask.shape[1]:
            options.update(attention_mask=None)
    return sdpa_mask(*arguments, **options)


AttentionMaskInterface.register("sdpa", _mask)
