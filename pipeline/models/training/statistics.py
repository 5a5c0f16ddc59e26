"""Statistics of BatchNorm after a fine-tune: those of all training rows, not of whichever batch came last."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def settle_statistics(model: nn.Module, passes: Iterable[object]) -> None:
    """Set running means and variances to the averages over batches, under the weights that the model has now.

    While a model is trained, its running statistics lag behind its weights, and how far is a setting of the checkpoint
    that few look at: EfficientNet's in transformers have `batch_norm_momentum` 0.99, which is TensorFlow's way of
    saying 0.01; PyTorch takes it as "the last batch alone". With a last batch of eight rows that cost such a model 2 to
    10 points of accuracy, other ones with each order of the rows.

    Parameters
    ----------
    model : nn.Module
        Changed in place, and in evaluation mode afterwards. One without running statistics is left as it is, and no
        pass is made.
    passes : iterable
        Each item that is drawn is a forward pass of the model over a batch; together over all training rows, in batches
        of about equal size.
    """
    model.eval()
    norms = [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]
    if not norms:
        return
    with _averaging(norms), torch.no_grad():
        for _ in passes:
            pass


@contextmanager
def _averaging(norms: list[_BatchNorm]) -> Iterator[None]:
    """Let these layers, and no others, gather plain averages over what comes by."""
    momenta = [norm.momentum for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.train()
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()
