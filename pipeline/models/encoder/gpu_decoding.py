"""JPEGs decoded and brought to size on an NVIDIA GPU; what only Pillow can decode is resized there too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asvp.data.jpeg import plain_jpeg
from asvp.data.pixels import Steps, UnusableError, check_size
from asvp.data.tensors import MatrixResizing, bring_to_size

_PIXELS_AT_ONCE = 1 << 26
"""Decoded and not yet resized: 200 MB as bytes, and three times that while they are resized."""
GPU_PIXELS = "gpu-2"
"""What this way makes of images; it belongs to the key of their features."""

OnCpu = Callable[[Sequence[bytes]], list[np.ndarray | UnusableError]]


class GpuDecoding:
    """Batches of encoded images as pixels on a device.

    Parameters
    ----------
    steps : Steps
    side : int
        Longer side of what the model takes.
    device : torch.device
    decode : callable, optional
        Turns the bytes of JPEGs into (3, h, w) uint8 each, on the device; torchvision's, unless a test has another.
    """

    def __init__(
        self,
        steps: Steps,
        side: int,
        device: torch.device,
        decode: Callable[[list[Tensor]], list[Tensor]] | None = None,
    ) -> None:
        self._steps = steps
        self._side = side
        self._device = device
        self._resizing = MatrixResizing(device)
        self._decode = decode or self._by_torchvision
        # Beside the forward pass of the batch before, which has a stream of its own.
        self._stream: Any = torch.cuda.Stream(device) if device.type == "cuda" else None  # type: ignore[no-untyped-call]

    def __call__(self, contents: Sequence[bytes], on_cpu: OnCpu) -> Tensor | tuple[int, UnusableError]:
        """Pixels (n, 3, H, W) uint8 on the device, finished when this returns; or a row that has none, and why.

        Parameters
        ----------
        contents : sequence of bytes
        on_cpu : callable
            All pixels of images that are no plain JPEGs.
        """
        with torch.cuda.stream(self._stream):
            found: list[Tensor | None] = [None] * len(contents)
            sizes = [plain_jpeg(content) for content in contents]
            others = [row for row, size in enumerate(sizes) if size is None or not self._is_usable(size)]
            for rows in self._portions(sizes, set(others)):
                others += self._decoded(contents, rows, found)
            others.sort()
            for row, pixels in zip(others, on_cpu([contents[row] for row in others]) if others else [], strict=True):
                if isinstance(pixels, UnusableError):
                    return row, pixels
                whole = torch.from_numpy(np.array(pixels)).to(self._device)
                found[row] = bring_to_size(whole.unsqueeze(0), self._steps, self._resizing)[0]
            together = torch.stack([pixels for pixels in found if pixels is not None])
            if self._stream is not None:
                self._stream.synchronize()
            return together

    def _portions(self, sizes: list[Any], left_out: set[int]) -> list[list[int]]:
        """Rows whose pixels fit into the memory set aside for them."""
        portions: list[list[int]] = []
        room = 0
        for row, size in enumerate(sizes):
            if row in left_out:
                continue
            pixels = size[0] * size[1]
            if not portions or pixels > room:
                portions.append([])
                room = _PIXELS_AT_ONCE
            portions[-1].append(row)
            room -= pixels
        return portions

    def _decoded(self, contents: Sequence[bytes], rows: list[int], found: list[Tensor | None]) -> list[int]:
        """Decode and resize some JPEGs; returns those that could not be decoded."""
        encoded = [torch.frombuffer(bytearray(contents[row]), dtype=torch.uint8) for row in rows]
        try:
            decoded = self._decode(encoded)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError:
            # One of them, for which Pillow has the last word; the others' pixels must not depend on it.
            if len(rows) == 1:
                return rows
            middle = len(rows) // 2
            return [
                failed for half in (rows[:middle], rows[middle:]) for failed in self._decoded(contents, half, found)
            ]
        groups: dict[torch.Size, list[int]] = {}
        for place, image in enumerate(decoded):
            groups.setdefault(image.shape, []).append(place)
        for places in groups.values():
            resized = bring_to_size(torch.stack([decoded[place] for place in places]), self._steps, self._resizing)
            for place, pixels in zip(places, resized, strict=True):
                found[rows[place]] = pixels
        return []

    def _is_usable(self, size: tuple[int, int]) -> bool:
        try:
            check_size(*size, self._side)
        except UnusableError:
            return False
        return True

    def _by_torchvision(self, encoded: list[Tensor]) -> list[Tensor]:
        from torchvision.io import ImageReadMode, decode_jpeg

        decoded: Any = decode_jpeg(encoded, mode=ImageReadMode.RGB, device=self._device)
        return list(decoded)
