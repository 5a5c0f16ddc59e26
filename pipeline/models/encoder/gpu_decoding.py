"""JPEGs decoded and brought to size on an NVIDIA GPU; what only Pillow can decode, Pillow resizes as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from asvp.data.jpeg import plain_jpeg
from asvp.data.pixels import Steps, UnusableError, check_size
from asvp.data.shared_memory import stacked
from asvp.data.tensors import MatrixResizing, bring_to_size
from asvp.models.failures import device_out_of_memory, empty_device_cache
from asvp.models.sending import sent

_PIXELS_AT_ONCE = 1 << 26
"""Decoded and not yet resized: 200 MB as bytes, and three times that while they are resized."""

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
        """Pixels (n, 3, H, W) uint8 on the device, finished when this returns; or the first row that has none, and why.

        Parameters
        ----------
        contents : sequence of bytes
        on_cpu : callable
            What images that are no plain JPEGs become, (3, H, W) uint8 each.

        Raises
        ------
        RuntimeError
            That `device_out_of_memory` knows, if the device's memory is not enough for one row alone.
        """
        with torch.cuda.stream(self._stream):
            found: list[Tensor | None] = [None] * len(contents)
            sizes = [plain_jpeg(content) for content in contents]
            jpegs = {row: size[0] * size[1] for row, size in enumerate(sizes) if size and self._is_usable(size)}
            others = [row for row in range(len(contents)) if row not in jpegs]
            for rows in _portions(jpegs):
                others += self._as_it_fits(contents, rows, found)
            others.sort()
            made = on_cpu([contents[row] for row in others]) if others else []
            for row, pixels in zip(others, made, strict=True):
                if isinstance(pixels, UnusableError):
                    return row, pixels
            if made:
                moved = sent(torch.from_numpy(stacked(cast(list[np.ndarray], made))), self._device)
                for row, on_device in zip(others, moved, strict=True):
                    found[row] = on_device
            together = torch.stack([pixels for pixels in found if pixels is not None])
            if self._stream is not None:
                self._stream.synchronize()
            return together

    def _as_it_fits(self, contents: Sequence[bytes], rows: list[int], found: list[Tensor | None]) -> list[int]:
        """As `_decoded`, half of the rows at a time where the device's memory is not enough for all."""
        try:
            return self._decoded(contents, rows, found)
        except RuntimeError as error:
            if len(rows) == 1 or not device_out_of_memory(error):
                raise
        # After the handler, whose error holds what was made of them.
        empty_device_cache(self._device)
        middle = len(rows) // 2
        return [failed for half in (rows[:middle], rows[middle:]) for failed in self._as_it_fits(contents, half, found)]

    def _decoded(self, contents: Sequence[bytes], rows: list[int], found: list[Tensor | None]) -> list[int]:
        """Decode and resize some JPEGs; returns those that could not be decoded."""
        encoded = [torch.frombuffer(bytearray(contents[row]), dtype=torch.uint8) for row in rows]
        try:
            decoded = self._decode(encoded)
        except RuntimeError as error:
            if device_out_of_memory(error):
                raise
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
            whole = torch.stack([decoded[place] for place in places])
            for place, pixels in zip(places, bring_to_size(whole, self._steps, self._resizing), strict=True):
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


def _portions(pixels: Mapping[int, int]) -> Iterator[list[int]]:
    """Rows, in their order, whose pixels fit into the memory set aside for them; one at least."""
    portion: list[int] = []
    room = _PIXELS_AT_ONCE
    for row, wanted in pixels.items():
        if portion and wanted > room:
            yield portion
            portion, room = [], _PIXELS_AT_ONCE
        portion.append(row)
        room -= wanted
    if portion:
        yield portion
