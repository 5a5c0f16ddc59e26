"""Gradients that do not depend on the number of CPU threads, nor on which of a GPU's threads is through first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from asvp.models.training.attention import short_attention


class _LayerNorm(torch.autograd.Function):
    """Layer norm whose weight and bias gradients are summed in one order.

    PyTorch's own sums them in one buffer a thread, so that they differ in the last digits with the number of threads.
    """

    @staticmethod
    def forward(context: Any, rows: Tensor, weight: Tensor, bias: Tensor, norm: nn.LayerNorm) -> Tensor:
        shape = list(norm.normalized_shape)
        out, mean, inverse = torch.native_layer_norm(rows, shape, weight, bias, norm.eps)
        context.save_for_backward(rows, weight, bias, mean, inverse)
        context.shape = shape
        return out

    @staticmethod
    def backward(context: Any, *slopes: Tensor) -> Any:
        rows, weight, bias, mean, inverse = context.saved_tensors
        slope = slopes[0].contiguous()
        inner = torch.ops.aten.native_layer_norm_backward(
            slope, rows, context.shape, mean, inverse, weight, bias, [True, False, False]
        )[0]
        leading = list(range(rows.ndim - len(context.shape)))
        wide = slope.float()
        weight_slope = (wide * (rows.float() - mean.float()).mul_(inverse.float())).sum(leading)
        return inner, weight_slope.to(weight.dtype), wide.sum(leading).to(bias.dtype), None


@contextmanager
def repeatable_gradients(model: nn.Module) -> Iterator[None]:
    """Within, training on a CPU gives the same weights on one thread and on two, and convolutions repeat on a GPU.

    The sums of layer norms' gradients run in one order here; `short_attention` does the same for attention, on a CPU.
    """
    norms = [
        module
        for module in model.modules()
        if type(module) is nn.LayerNorm and module.weight is not None and module.bias is not None
    ]
    device = next(model.parameters()).device
    if device.type != "cpu":
        norms = []
    for norm in norms:
        norm.forward = partial(_apply, norm)  # type: ignore[method-assign]
    try:
        with short_attention(model), repeatable_convolutions(device):
            yield
    finally:
        for norm in norms:
            del norm.forward


@contextmanager
def repeatable_convolutions(device: torch.device) -> Iterator[None]:
    """Within, cuDNN sums gradients in one order, by algorithms that it takes by rule and not by trying which is fast.

    It holds for the whole process. On a CPU there is nothing to do.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.deterministic, cudnn.benchmark
    if device.type == "cuda":
        cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark = before


def _apply(norm: nn.LayerNorm, rows: Tensor) -> Tensor:
    out: Tensor = _LayerNorm.apply(rows, norm.weight, norm.bias, norm)  # type: ignore[no-untyped-call]
    return out
