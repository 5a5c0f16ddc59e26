"""From levels of pixels to the numbers that a model takes, as a checkpoint's image processor makes them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asvp.data.pixels import ByProcessor
from asvp.errors import EncoderError

MEASURED = "measured-1"
"""Scaling that no longer is what it was taken for once; it belongs to the key of such features."""
_TRIED = ((64, 64), (131, 96))
"""Heights and widths of the pictures that a processor is tried on."""
_ROUNDING = 0.01
"""Share of a level by which two orders of the same arithmetic may differ in float32; some 0.0001 are usual."""

_Numbers = float | list[float]


@dataclass(frozen=True)
class Scaling:
    """What a level becomes: times a factor, less a mean, over a deviation, of a channel each or the same for all.

    Attributes
    ----------
    factor : float or None
        None: levels stay as they are before the mean is taken off.
    normalised : (mean, deviation) or None
    measured : bool
        Whether it was found out from what comes out of the processor, as what this declares does not say it all.
    """

    factor: float | None
    normalised: tuple[_Numbers, _Numbers] | None
    measured: bool = False
    _constants: dict[torch.device, tuple[Tensor, Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, levels: Tensor) -> Tensor:
        """(n, 3, H, W) float32 of levels (n, 3, H, W) uint8, on their device."""
        pixels = levels.float()
        if self.factor is not None:
            pixels = pixels * self.factor
        if self.normalised is not None:
            mean, deviation = self._on(pixels.device)
            pixels = (pixels - mean) / deviation
        return pixels

    def _on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Mean and deviation, made once on a device: each copy to a GPU waits for what the GPU does."""
        assert self.normalised is not None
        if device not in self._constants:
            # Also for trainings, whichever pass comes first.
            with torch.inference_mode(False):
                mean, deviation = (
                    torch.tensor(numbers, device=device).view(1, -1, 1, 1) for numbers in self.normalised
                )
            self._constants[device] = mean, deviation
        return self._constants[device]


def scaling_of(processor: Any, reference: ByProcessor) -> Scaling:
    """The scaling of an image processor, held against what the whole processor makes of a few pictures.

    Most are what they declare: `rescale_factor`, `image_mean` and `image_std`. Of another one, such as EfficientNet's
    with its offset and its second division, factor and shift of each channel are measured.

    Raises
    ------
    EncoderError
        If what it makes of pixels is no multiple of their levels plus a number, for each channel.
    """
    noise = np.random.default_rng(0)
    images = [Image.fromarray(noise.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in _TRIED]
    tried = [(reference.pixels(image), _whole(processor, image)) for image in images]
    slopes = _slopes(*tried[0])
    if slopes is not None:
        for scaling in (_declared(processor), _measured(*tried[0], slopes)):
            if all(_gives(scaling, levels, wanted, slopes) for levels, wanted in tried):
                return scaling
    raise EncoderError(
        "its image processor does more to the pixels of a resized image than multiply and shift each channel",
        key="encoder.model",
        mend="Set do_rescale, rescale_factor, do_normalize, image_mean and image_std in its preprocessor_config.json "
        "so that they say it all, or choose another model",
    )


def _whole(processor: Any, image: Image.Image) -> np.ndarray:
    """What the model would be given, (3, H, W)."""
    return np.asarray(processor(images=[image], return_tensors="np")["pixel_values"][0], np.float64)


def _declared(processor: Any) -> Scaling:
    factor = processor.rescale_factor if getattr(processor, "do_rescale", False) else None
    normalised = (processor.image_mean, processor.image_std) if getattr(processor, "do_normalize", False) else None
    return Scaling(factor, normalised)


def _slopes(levels: np.ndarray, wanted: np.ndarray) -> np.ndarray | None:
    """(3,) by how much a channel's numbers grow with a level; None where they do not depend on it."""
    if levels.shape != wanted.shape:
        return None
    (low, high), (least, most) = _ends(levels, wanted)
    if (high == low).any() or (most == least).any():
        return None
    slopes: np.ndarray = (most - least) / (high - low)
    return slopes


def _measured(levels: np.ndarray, wanted: np.ndarray, slopes: np.ndarray) -> Scaling:
    (low, _), (least, _) = _ends(levels, wanted)
    return Scaling(None, ((low - least / slopes).tolist(), (1 / slopes).tolist()), measured=True)


def _ends(levels: np.ndarray, wanted: np.ndarray) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """Lowest and highest level (3,) of each channel, and what these two became."""
    flat, made = levels.reshape(len(levels), -1), wanted.reshape(len(levels), -1)
    channels, places = np.arange(len(levels)), (flat.argmin(1), flat.argmax(1))
    return tuple(flat[channels, place].astype(float) for place in places), tuple(made[channels, at] for at in places)


def _gives(scaling: Scaling, levels: np.ndarray, wanted: np.ndarray, slopes: np.ndarray) -> bool:
    try:
        found = scaling(torch.from_numpy(levels.copy())[None])[0].numpy()
    except (RuntimeError, TypeError, ValueError):
        return False
    if found.shape != wanted.shape:
        return False
    return bool((np.abs(found - wanted) <= _ROUNDING * np.abs(slopes)[:, None, None]).all())
