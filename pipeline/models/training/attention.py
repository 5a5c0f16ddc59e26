"""Attention for short rows on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from asvp.models.quiet import quiet_transformers

NAME = "asvp_sdpa"
"""Under which transformers knows this attention. What holds "sdpa" is used by models only that can do with SDPA."""
_LONGEST = 128
"""Tokens up to which the matrix of attention weights is formed; beyond, PyTorch's fused kernel needs less memory."""


class _Softmax(torch.autograd.Function):
    """Softmax in float32 over the last axis; PyTorch's own gradient of it depends on the number of threads."""

    @staticmethod
    def forward(context: Any, scores: Tensor) -> Tensor:
        weights = torch.softmax(scores, -1, dtype=torch.float32)
        context.save_for_backward(weights)
        context.dtype = scores.dtype
        return weights

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Any:
        (weights,) = context.saved_tensors
        product = slopes[0] * weights
        return product.sub_(weights * product.sum(-1, keepdim=True)).to(context.dtype)


@contextmanager
def short_attention(model: nn.Module) -> Iterator[None]:
    """Within, a model on a CPU attends over short rows by plain matrix products; other models and GPUs are left alone.

    For rows of some tens of tokens the backward pass of PyTorch's fused CPU kernel takes several times as long in
    bfloat16 as the products it fuses, and its unfused one has gradients that depend on the number of threads.

    Parameters
    ----------
    model : nn.Module
        Changed where it is a transformers model, all of whose parts attend by PyTorch's fused kernel.
    """
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    fused = bool(parts) and all(part.config._attn_implementation == "sdpa" for part in parts)
    if not fused or any(parameter.device.type != "cpu" for parameter in model.parameters()):
        yield
        return
    whole = parts[0]
    with quiet_transformers():
        # A family without the attention interface is left as it is, and says so in a warning.
        whole.set_attn_implementation(NAME)
    try:
        yield
    finally:
        with quiet_transformers():
            whole.set_attn_implementation("sdpa")


def _attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    is_causal: bool | None = None,
    **options: Any,
) -> Any:
    """Attention as transformers calls it; anything out of the ordinary goes to the fused one."""
    fused = ALL_ATTENTION_FUNCTIONS["sdpa"]
    causal = attention_mask is None and (getattr(module, "is_causal", True) if is_causal is None else is_causal)
    grouped = query.shape[1] != key.shape[1]
    unusual = any(options.get(name) is not None for name in ("position_bias", "cache", "softcap", "s_aux"))
    if causal or grouped or unusual or key.shape[2] > _LONGEST or query.device.type != "cpu":
        return fused(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, is_causal=is_causal, **options
        )
    scores = torch.matmul(query * (query.shape[-1] ** -0.5 if scaling is None else scaling), key.transpose(-1, -2))
    if attention_mask is not None and attention_mask.dtype == torch.bool:
        scores = scores.masked_fill(~attention_mask, torch.finfo(scores.dtype).min)
    elif attention_mask is not None:
        scores = scores + attention_mask
    weights: Tensor = _Softmax.apply(scores)  # type: ignore[no-untyped-call]
    attended = torch.matmul(functional.dropout(weights, dropout).to(value.dtype), value)
    return attended.transpose(1, 2).contiguous(), None


AttentionInterface.register(NAME, _attend)
AttentionMaskInterface.register(NAME, ALL_MASK_ATTENTION_FUNCTIONS["sdpa"])
