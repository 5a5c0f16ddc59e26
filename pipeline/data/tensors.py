"""An image processor's steps on tensors, on whatever device they are, and torchvision's decoder before them."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asvp.data.jpeg import plain_jpeg
from asvp.data.pixels import BySteps, Steps, check_size

_MODES = {2: "bilinear", 3: "bicubic"}
"""By Pillow's numbers, the interpolations that PyTorch has too."""
_MIDDLE = 128
"""Of the levels of a pixel."""
_LENGTHS = 256
"""Lengths of lines whose weights are kept on a device: 0.2 MB each from 500 pixels to 224."""


def tensors_can(steps: Steps | None) -> bool:
    """Whether `bring_to_size` can take these steps."""
    return steps is not None and (steps.resample in _MODES or (steps.size is None and steps.shortest is None))


class MatrixResizing:
    """Resizes by products of matrices in float16, which a GPU has special cores for.

    The weights are those of Pillow: they smooth where an image shrinks. Across first, then down, in whole levels
    between, as Pillow does it too. It belongs to one stream of the device.

    Parameters
    ----------
    device : torch.device
    """

    def __init__(self, device: torch.device) -> None:
        self._weights = lru_cache(maxsize=_LENGTHS)(partial(_resizing_weights, device))

    def __call__(self, images: Tensor, height: int, width: int, mode: str) -> Tensor:
        """(n, 3, height, width) uint8 of images (n, 3, h, w) uint8."""
        # Around zero float16 has the most digits; a tensor of no dimensions gives the result its type.
        levels = images - torch.tensor(_MIDDLE, dtype=torch.float16)
        if images.shape[3] != width:
            levels = _whole_levels(torch.matmul(levels, self._weights(images.shape[3], width, mode)))
        if images.shape[2] != height:
            levels = _whole_levels(torch.matmul(self._weights(images.shape[2], height, mode).T, levels))
        return levels.add_(_MIDDLE).to(torch.uint8)


def bring_to_size(images: Tensor, steps: Steps, resizing: MatrixResizing | None = None) -> Tensor:
    """Images of one size through a processor's steps.

    Parameters
    ----------
    images : Tensor
        (n, 3, h, w) uint8.
    steps : Steps
    resizing : MatrixResizing, optional
        How a GPU resizes. None: PyTorch's interpolation in whole numbers, which is for CPUs alone.

    Returns
    -------
    Tensor
        (n, 3, H, W) uint8, within a level or two of what Pillow gives (tests/data/test_pixels.py).
    """
    height, width = steps.resized(*images.shape[2:])
    if (height, width) != tuple(images.shape[2:]):
        mode = _MODES[steps.resample]
        if resizing is not None:
            images = resizing(images, height, width, mode)
        else:
            images = functional.interpolate(images, (height, width), mode=mode, antialias=True)
    (top, bottom, left, right), (down, across) = steps.window(height, width)
    images = images[:, :, top:bottom, left:right]
    if steps.crop is None or tuple(images.shape[2:]) == steps.crop:
        return images
    below, beside = steps.crop[0] - down - images.shape[2], steps.crop[1] - across - images.shape[3]
    return functional.pad(images, (across, beside, down, below))


def _resizing_weights(device: torch.device, before: int, after: int, mode: str) -> Tensor:
    """(before, after) float16: what each pixel of a line counts for in each of the line's new pixels."""
    scale = before / after
    places = torch.arange(before, device=device)[:, None] + 0.5
    centres = (torch.arange(after, device=device) + 0.5) * scale
    away = (places - centres).abs_() / max(scale, 1.0)
    if mode == "bilinear":
        weights = (1 - away).clamp_(min=0)
    else:
        near = (1.5 * away - 2.5) * away**2 + 1
        far = ((-0.5 * away + 2.5) * away - 4) * away + 2
        weights = torch.where(away < 1, near, torch.where(away < 2, far, 0.0))
    return (weights / weights.sum(dim=0)).half()


def _whole_levels(levels: Tensor) -> Tensor:
    return levels.round_().clamp_(-_MIDDLE, 255 - _MIDDLE)


@dataclass(frozen=True)
class ByTorchvision:
    """Decodes plain JPEGs with torchvision and resizes them with PyTorch; whatever else is Pillow's to do."""

    steps: Steps
    side: int

    def __call__(self, content: bytes) -> np.ndarray:
        """Pixels (3, H, W) uint8; UnusableError where there are none."""
        size = plain_jpeg(content)
        if size is not None:
            check_size(*size, self.side)
            whole = None
            with suppress(RuntimeError):
                whole = _decode(content)
            if whole is not None:
                resized: np.ndarray = bring_to_size(whole.unsqueeze(0), self.steps)[0].numpy()
                return resized
        # Pillow has the last word on what can be decoded, and says what is wrong with it.
        return BySteps(self.steps, self.side)(content)


def _decode(content: bytes) -> Tensor:
    from torchvision.io import ImageReadMode, decode_jpeg

    decoded: Any = decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8), mode=ImageReadMode.RGB)
    return torch.as_tensor(decoded)
