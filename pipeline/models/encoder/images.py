"""From encoded images to batches of pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from asvp.data.pixels import ByProcessor, BySteps, Canvas, Reader, UnusableError
from asvp.data.shared_memory import stacked
from asvp.data.tensors import ByTorchvision
from asvp.errors import EncoderError, RowError
from asvp.models.encoder.augmentation import Crops, cut
from asvp.models.encoder.decoding import Decoder, decide_way
from asvp.models.encoder.gpu_decoding import GpuDecoding
from asvp.models.encoder.inputs import BatchSize
from asvp.models.encoder.scaling import scaling_of
from asvp.models.encoder.steps import steps_of

_ROWS_ON_CPU = 32
"""More images a batch were slower on every CPU measured: the activations leave the cache."""
_ROWS_ON_GPU = 256

_Fetched = list[np.ndarray] | Crops | Tensor
"""Images to be stacked, pieces to be resized, or a batch that is on the device already."""


class ImageInputs:
    """Decodes images and brings them to the model's size as the checkpoint's own image processor does.

    Pixels travel as bytes and are scaled on the model's device: a quarter of the memory and of the traffic.

    Parameters
    ----------
    processor : transformers image processor
        With the PIL backend, so that features do not depend on whether torchvision is installed.
    device : torch.device
        The forward pass's device.
    decode : {"pil", "torchvision", "gpu", "auto"}
        The key `encoder.decode`.

    Attributes
    ----------
    way : {"pil", "torchvision", "gpu"}
        What `decode` became.
    scaling : Scaling
        From levels of pixels to what the model takes, the same in each way of decoding.

    Raises
    ------
    EncoderError
        If a way of decoding is asked for that is not possible here, or the processor does to pixels what no way can.
    """

    def __init__(self, processor: Any, device: torch.device, decode: str = "pil") -> None:
        self.processor = processor
        self._device = device
        blank = Image.new("RGB", (64, 64))
        _, height, width = ByProcessor(processor, 0).pixels(blank).shape
        self._size = height, width
        side = max(self._size)
        by_processor = ByProcessor(processor, side)
        self.scaling = scaling_of(processor, by_processor)
        steps = steps_of(processor, by_processor)
        self.way = decide_way(decode, steps, device)
        scored: Reader = by_processor if steps is None else BySteps(steps, side)
        self._on_gpu: GpuDecoding | None = None
        if steps is not None and self.way == "torchvision":
            scored = ByTorchvision(steps, side)
        if steps is not None and self.way == "gpu":
            self._on_gpu = GpuDecoding(steps, side, device)
        canvas = Canvas(side)
        self._decoder = Decoder(
            {"scored": scored, "canvas": canvas}, {"scored": 3 * height * width, "canvas": canvas.usual_bytes}
        )

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
        on_cpu = self._device.type == "cpu"
        if batch_size == "auto":
            return _ROWS_ON_CPU if on_cpu else _ROWS_ON_GPU
        return min(batch_size, _ROWS_ON_CPU) if on_cpu else batch_size

    def fetch(self, examples: list[bytes], positions: np.ndarray, numbers: np.ndarray | None = None) -> _Fetched:
        """Images (3, h, w) uint8, decoded, or what augmentation cuts out of them; of a GPU's decoder a batch there."""
        contents = [examples[position] for position in positions.tolist()]
        if numbers is None and self._on_gpu is not None:
            pixels = self._on_gpu(contents, lambda others: self._decoder.read("scored", others, self._cores()))
            if isinstance(pixels, Tensor):
                return pixels
            place, error = pixels
            raise _row_error(error, int(positions[place]))
        found = self._decoder.read("scored" if numbers is None else "canvas", contents, self._cores())
        decoded = []
        for position, array in zip(positions.tolist(), found, strict=True):
            if isinstance(array, UnusableError):
                raise _row_error(array, position)
            decoded.append(array)
        return decoded if numbers is None else cut(decoded, numbers)

    def collate(
        self,
        examples: list[bytes],
        positions: np.ndarray,
        numbers: np.ndarray | None = None,
        fetched: _Fetched | None = None,
    ) -> dict[str, Tensor]:
        """Pixels (n, 3, H, W) uint8; numbers (n, 23) ask for a random resized crop and flip, made on the device."""
        decoded = self.fetch(examples, positions, numbers) if fetched is None else fetched
        if isinstance(decoded, Crops):
            return {"pixel_values": decoded.resized(self._size, self._device)}
        if isinstance(decoded, Tensor):
            return {"pixel_values": decoded}
        shapes = {array.shape for array in decoded}
        if len(shapes) > 1:
            raise EncoderError(
                f"its image processor makes images of different sizes, {sorted(shapes)[:2]}",
                key="encoder.model",
                mend="Set a crop_size or a fixed size in its preprocessor_config.json",
            )
        return {"pixel_values": torch.from_numpy(stacked(decoded))}

    def on_device(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Scale and normalise as the image processor would have."""
        pixels = tensors["pixel_values"]
        if pixels.is_cuda and self._on_gpu is not None:
            # It was made on another stream, which may have its memory back only when this one has read it.
            pixels.record_stream(torch.cuda.current_stream(pixels.device))
        return {"pixel_values": self.scaling(pixels)}

    def blank(self) -> list[bytes]:
        """One black image."""
        return [_encoded(np.zeros((64, 64, 3), np.uint8))]

    def probe(self) -> list[bytes]:
        """One image that is different everywhere."""
        return [_encoded(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))]

    def save(self, folder: str) -> None:
        """Write the image processor's file."""
        self.processor.save_pretrained(folder)

    def _cores(self) -> int:
        """Cores for decoding: those of this process, but for one that keeps a GPU busy."""
        threads = torch.get_num_threads()
        return threads if self._device.type == "cpu" else max(1, threads - 1)


def _encoded(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _row_error(error: UnusableError, position: int) -> RowError:
    return RowError(error.message, row=position, mend=error.mend)
