"""Tensors on their way from the CPU to a GPU."""

from __future__ import annotations

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; a GPU copies it when its turn comes, and nobody waits for it.

    That needs memory that the system leaves where it is: from any other the copy would wait for all that was queued.
    """
    if device.type == "cuda" and tensor.device.type == "cpu" and not tensor.is_pinned():
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
