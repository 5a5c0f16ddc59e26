"""Which way images are decoded, and the cores that do it."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Literal

import numpy as np
import torch
from PIL import Image

from asvp.data.pixels import Reader, Steps, UnusableError
from asvp.data.tensors import tensors_can
from asvp.errors import EncoderError, first_line
from asvp.models.encoder.processes import ProcessesOnDemand, ReadingProcesses
from asvp.models.failures import find_device

Way = Literal["pil", "torchvision", "gpu"]

PIXELS = {"torchvision": "torchvision-2", "gpu": "gpu-2"}
"""What ways of decoding other than Pillow's make of images; it belongs to the key of their features."""
_WORTH = 256
"""Images after which processes are started: they take a second to come, and memory."""


def decide_way(asked: str, steps: Steps | None, device: torch.device) -> Way:
    """What `encoder.decode` is for an image processor's steps on a device.

    `auto` is `gpu` where torchvision decodes JPEGs on this GPU and tensors can take the steps, else `pil`.

    Raises
    ------
    EncoderError
        If another way is asked for and not possible here.
    """
    if asked == "pil":
        return "pil"
    if asked == "auto":
        return "gpu" if device.type == "cuda" and tensors_can(steps) and not trouble("gpu", str(device)) else "pil"
    way: Way = "gpu" if asked == "gpu" else "torchvision"
    if not tensors_can(steps):
        raise EncoderError(
            "this checkpoint's image processor takes steps that only it can take",
            key="encoder.decode",
            value=asked,
            mend="Use pil or auto",
        )
    if way == "gpu" and device.type != "cuda":
        raise EncoderError(
            "needs an NVIDIA GPU, and the encoder runs on the CPU", key="encoder.decode", value=asked, mend="Use pil"
        )
    why = trouble(way, str(device))
    if why is not None:
        raise EncoderError(
            f"torchvision does not decode JPEGs here: {why}",
            key="encoder.decode",
            value=asked,
            mend="Install the torchvision that fits the installed torch (pip install asvp[torchvision]), or use pil",
        )
    return way


def possible_way(way: str, device: str | None) -> str:
    """The way of decoding that a model was made with, where it is possible here, else `pil`, which always is."""
    where = find_device(device)
    if way not in ("torchvision", "gpu") or (way == "gpu" and where.type != "cuda"):
        return "pil"
    return "pil" if trouble("gpu" if way == "gpu" else "torchvision", str(where)) else way


@lru_cache(maxsize=8)
def trouble(way: Literal["torchvision", "gpu"], device: str) -> str | None:
    """Why torchvision cannot decode a JPEG on a device; None where it can. The only way to know is to try."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 100, 50)).save(buffer, "JPEG")
    encoded = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    try:
        from torchvision.io import decode_jpeg

        decoded = decode_jpeg([encoded], device=device)[0] if way == "gpu" else decode_jpeg(encoded)
        return None if tuple(decoded.shape) == (3, 16, 16) else f"a JPEG became {tuple(decoded.shape)}"
    except Exception as error:
        # A torchvision built for another torch fails while it is imported, in any way.
        return first_line(error)


class Decoder:
    """Reads batches of encoded images on some cores: in one thread, or in several until processes have come.

    Thread-safe. What comes out is the same on any number of cores.

    Parameters
    ----------
    readers : mapping of str to Reader
        What it can be asked for.
    rooms : mapping of str to int
        As of `ReadingProcesses`.

    Attributes
    ----------
    processes : ProcessesOnDemand
    """

    def __init__(self, readers: Mapping[str, Reader], rooms: Mapping[str, int]) -> None:
        self.processes = ProcessesOnDemand(_WORTH)
        self._readers = readers
        self._rooms = rooms

    def read(self, name: str, contents: Sequence[bytes], cores: int) -> list[np.ndarray | UnusableError]:
        """Pixels (3, h, w) uint8 of each image, or why it has none.

        Raises
        ------
        WorkError
            If a process that decodes ended.
        """
        wanted = cores if cores > 1 else 0

        def begin() -> ReadingProcesses:
            return ReadingProcesses(self._readers, wanted, rooms=self._rooms)

        processes = self.processes.ready(len(contents), wanted, begin)
        if processes is not None:
            return self.processes.read(processes, name, contents)

        def one(content: bytes) -> np.ndarray | UnusableError:
            try:
                return self._readers[name](content)
            except UnusableError as error:
                return error

        if cores == 1 or len(contents) == 1:
            return [one(content) for content in contents]
        with ThreadPoolExecutor(cores) as threads:
            return list(threads.map(one, contents))
