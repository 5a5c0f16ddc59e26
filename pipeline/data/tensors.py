"""An image processor's steps on tensors, on whatever device they are, and torchvision's decoder before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asvp.data.jpeg import plain_jpeg
from asvp.data.pixels import Steps, check_size, usable

_MODES = {2: "bilinear", 3: "bicubic"}
"""By Pillow's numbers, the interpolations that PyTorch has too."""


def tensors_can(steps: Steps | None) -> bool:
    """Whether `bring_to_size` can take these steps."""
    return steps is not None and (steps.resample in _MODES or (steps.size is None and steps.shortest is None))


def bring_to_size(images: Tensor, steps: Steps, *, floats: bool | None = None) -> Tensor:
    """Images of one size through a processor's steps.

    Parameters
    ----------
    images : Tensor
        (n, 3, h, w) uint8.
    steps : Steps
    floats : bool, optional
        Whether to calculate in float32, which is what GPUs can; None: on GPUs. On a CPU whole numbers are faster.

    Returns
    -------
    Tensor
        (n, 3, H, W) uint8, within a level or two of what Pillow gives (tests/data/test_pixels.py).
    """
    height, width = steps.resized(*images.shape[2:])
    if (height, width) != tuple(images.shape[2:]):
        mode = _MODES[steps.resample]
        if images.is_cuda if floats is None else floats:
            # Across, then down, in whole levels between, as Pillow does it.
            for size in ((images.shape[2], width), (height, width)):
                if size != tuple(images.shape[2:]):
                    exact = functional.interpolate(images.float(), size, mode=mode, antialias=True)
                    images = exact.round_().clamp_(0, 255).to(torch.uint8)
        else:
            images = functional.interpolate(images, (height, width), mode=mode, antialias=True)
    (top, bottom, left, right), (down, across) = steps.window(height, width)
    images = images[:, :, top:bottom, left:right]
    if steps.crop is None or tuple(images.shape[2:]) == steps.crop:
        return images
    below, beside = steps.crop[0] - down - images.shape[2], steps.crop[1] - across - images.shape[3]
    return functional.pad(images, (across, beside, down, below))


@dataclass(frozen=True)
class ByTorchvision:
    """Decodes plain JPEGs with torchvision, whatever else with Pillow, and resizes either with PyTorch."""

    steps: Steps
    side: int

    def __call__(self, content: bytes) -> np.ndarray:
        """Pixels (3, H, W) uint8; UnusableError where there are none."""
        resized: np.ndarray = bring_to_size(self._whole(content).unsqueeze(0), self.steps)[0].numpy()
        return resized

    def _whole(self, content: bytes) -> Tensor:
        size = plain_jpeg(content)
        if size is not None:
            check_size(*size, self.side)
            try:
                return _decode(content)
            except RuntimeError:
                # Pillow has the last word on what can be decoded, and says what is wrong with it.
                pass
        return torch.from_numpy(np.moveaxis(np.array(usable(content, self.side)), -1, 0).copy())


def _decode(content: bytes) -> Tensor:
    from torchvision.io import ImageReadMode, decode_jpeg

    decoded: Any = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB)
    return torch.as_tensor(decoded)
