"""From the bytes of an image to pixels of a model's size, with Pillow and NumPy alone: small processes can do it."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

import numpy as np
from PIL import Image

from asvp.data.decoding import UndecodableError, check_pixels, decode_image

AUGMENTATION = "asvp-augmentation-2"
"""Of the canvas, and of what training cuts out of it, which belong to a fine-tuned model's key."""
_ENOUGH = 4
"""Times the size that an image is brought to, from where on a JPEG may be decoded at a fraction of its own size.

Resizing from there gives other pixels than from the whole image, by 3 of 255 levels (tests/data/test_pixels.py); from
twice the size it would be 5, which is more than ways of decoding differ by.
"""
_MOST_PIXELS = 50_000_000
"""Of an image whose short side was brought to the model's size."""
_SCALES = ("include_top",)
"""Besides do_rescale and do_normalize, what makes some image processors scale their pixels."""


class UnusableError(Exception):
    """An image that gives no pixels for a model; the texts say why, and what to do."""

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message, mend)
        self.message = message
        self.mend = mend


class Reader(Protocol):
    """Makes pixels (3, h, w) uint8 of an encoded image, or raises UnusableError. It travels to other processes."""

    def __call__(self, content: bytes) -> np.ndarray: ...


@dataclass(frozen=True)
class Steps:
    """What an image processor does to the size of an image: resize, then cut out the middle.

    Attributes
    ----------
    size : (int, int) or None
        Height and width whatever the image's proportions are.
    shortest : int or None
        Or what the short side becomes, with the proportions kept. Neither: the size stays.
    resample : int
        Pillow's number of the interpolation.
    crop : (int, int) or None
        Height and width of the middle; what lies outside the image is black.
    """

    size: tuple[int, int] | None
    shortest: int | None
    resample: int
    crop: tuple[int, int] | None

    def resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width after the first step."""
        if self.size is not None:
            return self.size
        if self.shortest is None:
            return height, width
        long = int(self.shortest * max(height, width) / min(height, width))
        return (self.shortest, long) if height <= width else (long, self.shortest)

    def enough(self) -> int | None:
        """Pixels of a side from where on a fraction of an image gives nearly the same; None: it has to be whole."""
        largest = self.shortest if self.size is None else max(self.size)
        # What picks pixels, and smooths nothing, wants those that are there.
        return None if largest is None or self.resample == Image.Resampling.NEAREST else _ENOUGH * largest

    def window(self, height: int, width: int) -> tuple[tuple[int, int, int, int], tuple[int, int]]:
        """(Top, bottom, left, right) of what is cut out of a resized image, and where it goes in the black frame."""
        if self.crop is None:
            return (0, height, 0, width), (0, 0)
        spans, places = [], []
        for present, wanted in ((height, self.crop[0]), (width, self.crop[1])):
            first = (present - wanted) // 2
            spans += [max(first, 0), min(max(first, 0) + wanted, present)]
            # As transformers pads: the odd pixel goes before the image.
            places.append(ceil((wanted - present) / 2) + first if first >= 0 else ceil((wanted - present) / 2))
        return (spans[0], spans[1], spans[2], spans[3]), (max(places[0], 0), max(places[1], 0))

    def apply(self, image: Image.Image) -> np.ndarray:
        """Pixels (3, H, W) uint8 of an RGB image."""
        height, width = self.resized(image.height, image.width)
        if self.size is not None or self.shortest is not None:
            image = image.resize((width, height), Image.Resampling(self.resample))
        pixels = np.moveaxis(np.asarray(image), -1, 0)
        (top, bottom, left, right), (down, across) = self.window(height, width)
        cut = pixels[:, top:bottom, left:right]
        if self.crop is None or cut.shape[1:] == self.crop:
            return np.ascontiguousarray(cut)
        framed = np.zeros((3, *self.crop), np.uint8)
        framed[:, down : down + cut.shape[1], across : across + cut.shape[2]] = cut
        return framed


@dataclass(frozen=True)
class BySteps:
    """Brings an image to a model's size by known steps."""

    steps: Steps
    side: int

    def __call__(self, content: bytes) -> np.ndarray:
        """Pixels (3, H, W) uint8."""
        return self.steps.apply(usable(content, self.side, near=self.steps.enough()))


@dataclass(frozen=True)
class ByProcessor:
    """Brings an image to a model's size with an image processor of transformers, whose steps are its own affair."""

    processor: Any
    side: int

    def __call__(self, content: bytes) -> np.ndarray:
        """Pixels (3, H, W) uint8."""
        image = usable(content, self.side)
        try:
            return self.pixels(image)
        except (ValueError, TypeError, ZeroDivisionError, IndexError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise UnusableError(
                f"its image processor cannot use it, {image.width} x {image.height} pixels: {reason}",
                "Leave the row out, or set a fixed size in preprocessor_config.json",
            ) from None

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Pixels (3, H, W) uint8 of an RGB image, before they are scaled."""
        others = {name: False for name in _SCALES if hasattr(self.processor, name)}
        out = self.processor(images=[image], do_rescale=False, do_normalize=False, return_tensors="np", **others)
        return np.asarray(out["pixel_values"][0], np.uint8)


@dataclass(frozen=True)
class Canvas:
    """What a random crop is cut from; large images are shrunk first, as the crop's interpolation does not smooth."""

    side: int

    @property
    def usual_bytes(self) -> int:
        """Of the largest that it makes of images whose long side is at most one and a half times the short one."""
        return 3 * (2 * self.side) * (3 * self.side)

    def __call__(self, content: bytes) -> np.ndarray:
        """Pixels (3, h, w) uint8."""
        image = usable(content, self.side, near=_ENOUGH * 2 * self.side)
        short = min(image.size)
        if short > 2 * self.side:
            scale = 2 * self.side / short
            size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
            image = image.resize(size, Image.Resampling.BICUBIC)
        return _planes(image)


def usable(content: bytes, side: int, *, near: int | None = None) -> Image.Image:
    """The image of some bytes, for a model whose longer side is given; UnusableError if it is none, or far too long.

    It may be a fraction of its size where sides of `near` pixels are enough.
    """
    try:
        image = decode_image(content, near=near, even=True)
    except UndecodableError as error:
        raise UnusableError(f"is no readable image: {error}", "Repair it or leave the row out") from None
    check_size(image.height, image.width, side)
    return image


def check_size(height: int, width: int, side: int) -> None:
    """UnusableError for an image that is too large, or so long that its short side at the model's size would be."""
    try:
        check_pixels(width, height)
    except UndecodableError as error:
        raise UnusableError(f"is no readable image: {error}", "Make it smaller or leave the row out") from None
    ratio = max(height, width) / min(height, width)
    if ratio * side**2 > _MOST_PIXELS:
        raise UnusableError(
            f"is {width} x {height} pixels: its long side is {ratio:,.0f} times the short one",
            "Crop it or leave the row out",
        )


def _planes(image: Image.Image) -> np.ndarray:
    return np.moveaxis(np.array(image), -1, 0).copy()
