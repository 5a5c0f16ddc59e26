"""Which of PyTorch's fused attention kernels a GPU takes for a batch, and the masks it is given."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

_ROWS, _TOKENS = 32, 64
"""Of whole batches, which have multiples of them; few others do."""
_SHORT = 128
"""Tokens below which attention is so small a part of a forward pass that its kernel hardly matters."""
_ALIGNED = 8
"""Numbers to whose multiples the kernel that takes any shape wants a mask's lines to be filled up."""

_Biases = dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]]
"""Masks, by what they are and in which type they are wanted, and what is added to attention's scores for them."""
_BIASES: ContextVar[_Biases | None] = ContextVar("_BIASES", default=None)
"""Those of the batch that is in the forward pass; None: masks are left as they are."""


@contextmanager
def attention_kernels(tensors: Mapping[str, Tensor], device: torch.device) -> Iterator[None]:
    """Within, a batch on a GPU attends by cuDNN's kernel only if its shape is one that comes again and again.

    Where cuDNN has the fastest kernel PyTorch prefers it, but for each shape that a thread has not met yet it makes a
    plan, which takes some 50 ms on an H200: ten times what launching the forward pass of a batch takes. Batches of
    texts have a new shape nearly every time, and so has the last batch of a training. The shape alone decides, so that
    equal batches have equal features.

    The choice holds for the whole process. On a CPU there is none.

    Parameters
    ----------
    tensors : mapping of str to Tensor
        A model's inputs: n rows, and of texts the mask (n, T) of the tokens that count.
    device : torch.device
        Of the forward pass.
    """
    if device.type != "cuda" or comes_again(tensors):
        yield
        return
    before = torch.backends.cuda.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    torch.backends.cuda.enable_cudnn_sdp(False)
    try:
        with masks_made_once():
            yield
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)


def comes_again(tensors: Mapping[str, Tensor]) -> bool:
    """Whether it is the shape of a whole batch: of images, of texts cut at a common length, or in training."""
    if len(next(iter(tensors.values()))) % _ROWS:
        return False
    mask = tensors.get("attention_mask")
    return mask is None or (mask.shape[1] % _TOKENS == 0 and mask.shape[1] >= _SHORT)


@contextmanager
def masks_made_once() -> Iterator[None]:
    """Within, a mask becomes numbers, and as wide as the kernel wants it, for all layers of a model together.

    PyTorch does so for each layer, in five small kernels, with the same numbers; launching those of a small encoder
    takes as long as computing does.
    """
    token = _BIASES.set({})
    try:
        yield
    finally:
        _BIASES.reset(token)


def _attend(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
) -> tuple[Tensor, None]:
    """As transformers calls PyTorch's fused attention."""
    biases = _BIASES.get()
    # What else there may be to add is added to truth values in a way of its own.
    alone = options.get("position_bias") is None
    if biases is not None and alone and attention_mask is not None and attention_mask.dtype == torch.bool:
        attention_mask = _bias(biases, attention_mask, query.dtype)
    return sdpa_attention_forward(module, query, key, value, attention_mask, **options)


def _bias(biases: _Biases, mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Zero where a mask is true, minus infinity elsewhere: what PyTorch makes of it."""
    known = biases.get((id(mask), dtype))
    if known is None:
        width = -(-mask.shape[-1] // _ALIGNED) * _ALIGNED
        wide = torch.full((*mask.shape[:-1], width), -torch.inf, dtype=dtype, device=mask.device)
        # With the mask, whose number no other can have as long as it is kept.
        known = mask, wide[..., : mask.shape[-1]].masked_fill_(mask, 0.0)
        biases[id(mask), dtype] = known
    return known[1]


AttentionInterface.register("sdpa", _attend)
