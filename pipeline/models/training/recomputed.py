"""Gradient checkpointing: activations that are computed again for the gradient instead of being kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel

from asvp.models.encoder.backbone import check_checkpointing


@contextmanager
def recomputed_activations(model: PreTrainedModel, wanted: bool) -> Iterator[None]:
    """Within, if wanted, training keeps the inputs of the model's layers only (Chen et al. 2016, arXiv:1604.06174).

    Dropout draws the same numbers the second time, so gradients are those of a model that keeps everything.

    Raises
    ------
    ConfigError
        If the model cannot do it.
    """
    if not wanted:
        yield
        return
    check_checkpointing(type(model))
    _call(model, "enable", {"use_reentrant": False})
    try:
        yield
    finally:
        _call(model, "disable")
        # It makes embeddings ask for gradients, and forgets to stop.
        model.disable_input_require_grads()  # type: ignore[no-untyped-call]


def _call(model: PreTrainedModel, what: str, *arguments: object) -> None:
    """By the method's newer name in transformers, or by the one that went before."""
    method = getattr(model, f"activation_checkpointing_{what}", None)
    (method or getattr(model, f"gradient_checkpointing_{what}"))(*arguments)
