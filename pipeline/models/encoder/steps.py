"""Which steps a checkpoint's image processor takes, found out from what it declares and tried on pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from asvp.data.pixels import ByProcessor, Steps

_TRIED = ((64, 64), (96, 131), (131, 96), (20, 33), (33, 20), (9, 9), (480, 361), (401, 700))
"""Heights and widths, above and below usual sizes, odd and even."""
_WARPED = 384
"""ConvNeXt's: from this size on images are squeezed, not cut."""


def steps_of(processor: Any, reference: ByProcessor) -> Steps | None:
    """The steps of an image processor; None where it does something else, in which case it has to do it itself."""
    try:
        steps = _declared(processor)
        if steps is not None and all(_agree(steps, reference, *size) for size in _TRIED):
            return steps
    except (AttributeError, TypeError, ValueError, KeyError, IndexError, ZeroDivisionError):
        pass
    return None


def _declared(processor: Any) -> Steps | None:
    size, crop = processor.size, getattr(processor, "crop_size", None)
    exact, shortest = _pair(size), getattr(size, "shortest_edge", None)
    if getattr(size, "longest_edge", None) or getattr(size, "max_height", None):
        return None
    cut = _pair(crop) if getattr(processor, "do_center_crop", False) else None
    share = getattr(processor, "crop_pct", None)
    if not processor.do_resize:
        return Steps(None, None, 0, cut)
    if shortest and share:
        if shortest >= _WARPED:
            return Steps((shortest, shortest), None, int(processor.resample), cut)
        return Steps(None, int(shortest / share), int(processor.resample), (shortest, shortest))
    if exact is None and not shortest:
        return None
    return Steps(exact, None if exact or not shortest else int(shortest), int(processor.resample), cut)


def _pair(size: Any) -> tuple[int, int] | None:
    height, width = getattr(size, "height", None), getattr(size, "width", None)
    return (int(height), int(width)) if height and width else None


def _agree(steps: Steps, reference: ByProcessor, height: int, width: int) -> bool:
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image = Image.fromarray(noise)
    return np.array_equal(steps.apply(image), reference.pixels(image))
