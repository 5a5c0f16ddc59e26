"""From encoded images to batches of pixels."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asvp.data.decoding import UndecodableError, decode_image
from asvp.errors import EncoderError, RowError, first_line
from asvp.models.encoder.inputs import BatchSize

_ROWS_ON_CPU = 32
"""More images a batch were slower on every CPU measured: the activations leave the cache."""
_ROWS_ON_GPU = 256
_MOST_PIXELS = 50_000_000
"""Of an image whose short side was brought to the model's size."""


class ImageInputs:
    """Decodes images and brings them to the model's size with the checkpoint's own image processor.

    Pixels travel as bytes and are scaled on the model's device: a quarter of the memory and of the traffic.

    Parameters
    ----------
    processor : transformers image processor
        With the PIL backend, so that features do not depend on whether torchvision is installed.
    device : torch.device
        The forward pass's device.
    """

    def __init__(self, processor: Any, device: torch.device) -> None:
        self.processor = processor
        self._device = device
        self._augment: Callable[[Tensor], Tensor] | None = None
        self._size = self._pixels(Image.new("RGB", (64, 64))).shape[1:]

    def read(self, rows: Sequence[Any]) -> list[bytes]:
        """The rows as they are: decoding waits for their batch, as pixels would fill the memory."""
        for number, row in enumerate(rows):
            if not isinstance(row, bytes):
                raise RowError("is no encoded image", row=number, value=row, mend="Use a column of bytes or of paths")
        return list(rows)

    def plan(self, examples: list[bytes], batch_size: BatchSize) -> list[np.ndarray]:
        """Batches of neighbours in the list."""
        rows = self.batch_rows(batch_size)
        return [np.arange(start, min(start + rows, len(examples))) for start in range(0, len(examples), rows)]

    def batch_rows(self, batch_size: BatchSize) -> int:
        """Images that go through the model together."""
        most = _ROWS_ON_CPU if self._device.type == "cpu" else _ROWS_ON_GPU if batch_size == "auto" else batch_size
        return most if batch_size == "auto" else min(batch_size, most)

    def collate(
        self, examples: list[bytes], positions: np.ndarray, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Pixels (n, 3, H, W) uint8; a generator asks for a random resized crop and a random flip of each."""

        def one(position: int) -> np.ndarray:
            image = _decode(examples[position], position)
            _check_proportions(image, position, self._size)
            return self._processed(image, position) if generator is None else _canvas(image, 2 * max(self._size))

        with ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads())) as pool:
            decoded = list(pool.map(one, positions.tolist()))
        if generator is not None:
            seed = int(torch.randint(2**31, (1,), generator=generator))
            decoded = _augmented(decoded, self._augmentation(), seed)
        shapes = {array.shape for array in decoded}
        if len(shapes) > 1:
            raise EncoderError(
                f"its image processor makes images of different sizes, {sorted(shapes)[:2]}",
                key="encoder.model",
                mend="Set a crop_size or a fixed size in its preprocessor_config.json",
            )
        return {"pixel_values": torch.from_numpy(np.stack(decoded))}

    def on_device(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scale and normalise as the image processor would have."""
        pixels = tensors["pixel_values"].float()
        if self.processor.do_rescale:
            pixels = pixels * self.processor.rescale_factor
        if self.processor.do_normalize:
            mean, std = (
                torch.tensor(values, device=pixels.device).view(1, -1, 1, 1)
                for values in (self.processor.image_mean, self.processor.image_std)
            )
            pixels = (pixels - mean) / std
        return {"pixel_values": pixels}

    def blank(self) -> list[bytes]:
        """One black image."""
        return [_encoded(np.zeros((64, 64, 3), np.uint8))]

    def probe(self) -> list[bytes]:
        """One image that is different everywhere."""
        return [_encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))]

    def save(self, folder: str) -> None:
        """Write the image processor's file."""
        self.processor.save_pretrained(folder)

    def _pixels(self, image: Image.Image) -> np.ndarray:
        out = self.processor(images=[image], do_rescale=False, do_normalize=False, return_tensors="np")
        return np.asarray(out["pixel_values"][0], np.uint8)

    def _processed(self, image: Image.Image, position: int) -> np.ndarray:
        try:
            return self._pixels(image)
        except (ValueError, TypeError, ZeroDivisionError, IndexError) as error:
            raise RowError(
                f"its image processor cannot use it, {image.width} x {image.height} pixels: {first_line(error)}",
                row=position,
                mend="Leave the row out, or set a fixed size in preprocessor_config.json",
            ) from None

    def _augmentation(self) -> Callable[[Tensor], Tensor]:
        if self._augment is None:
            self._augment = _random_crop_and_flip(self._size[0], self._size[1])
        return self._augment


def _encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def check_augmentation() -> None:
    """Raise EncoderError if training on images asks for augmentation and its library is not installed."""
    _random_crop_and_flip(8, 8)


def _random_crop_and_flip(height: int, width: int) -> Callable[[Tensor], Tensor]:
    try:
        import kornia.augmentation as augmentation
    except ImportError:
        raise EncoderError(
            "the augmentation of images needs kornia, which is not installed",
            key="training.augment",
            value=True,
            mend="Install it: pip install asvp[images], or set training.augment to false",
        ) from None
    transform: Callable[[Tensor], Tensor] = augmentation.AugmentationSequential(
        augmentation.RandomResizedCrop((height, width), align_corners=False), augmentation.RandomHorizontalFlip()
    )
    return transform


def _augmented(images: list[np.ndarray], transform: Callable[[Tensor], Tensor], seed: int) -> list[np.ndarray]:
    """Each image (3, h, w) uint8 through the transform, which draws from the global generator."""
    done = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for image in images:
            out = transform(torch.from_numpy(image).float().div_(255).unsqueeze(0))[0]
            done.append(out.mul(255).round_().clamp_(0, 255).to(torch.uint8).numpy())
    return done


def _canvas(image: Image.Image, longest_short_side: int) -> np.ndarray:
    """Pixels (3, h, w); large images are shrunk first, as the crop's interpolation does not smooth."""
    short = min(image.size)
    if short > longest_short_side:
        scale = longest_short_side / short
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.moveaxis(np.array(image), -1, 0).copy()


def _check_proportions(image: Image.Image, position: int, size: Sequence[int]) -> None:
    """DataError for an image so long that bringing its short side to the model's size would fill the memory."""
    ratio = max(image.size) / min(image.size)
    if ratio * max(size) ** 2 > _MOST_PIXELS:
        raise RowError(
            f"is {image.width} x {image.height} pixels: its long side is {ratio:,.0f} times the short one",
            row=position,
            mend="Crop it or leave the row out",
        )


def _decode(encoded: bytes, position: int) -> Image.Image:
    try:
        return decode_image(encoded)
    except UndecodableError as error:
        raise RowError(f"is no readable image: {error}", row=position, mend="Repair it or leave the row out") from None
