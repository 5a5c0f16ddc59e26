"""The boundary to PyTorch and transformers: whatever they raise becomes an error of ours."""

from __future__ import annotations

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from asvp.errors import AsvpError, ConfigError, DeviceMemoryError, EncoderError, WorkError, first_line

_NO_MEMORY = re.compile(r"out of memory|can't allocate memory|not enough memory|alloc_failed|bad_alloc", re.IGNORECASE)
_FROM_A_GPU = re.compile(r"CUDA|CUBLAS|CUDNN|CUSOLVER|CUFFT", re.IGNORECASE)
_FROM_NVJPEG = re.compile(
    r"allocator_failure|(jpeg|decod)[^\n]*: 5\s*$|CUDA stream: 2\s*$", re.IGNORECASE | re.MULTILINE
)
"""Its failure to get memory, which torchvision tells as a number: NVJPEG_STATUS_ALLOCATOR_FAILURE, or that of CUDA."""


@contextmanager
def work_errors(doing: str, *, batch: str, size: int | str) -> Iterator[None]:
    """Turn what a model raises at work into a WorkError, a DeviceMemoryError for a GPU's memory; errors of ours pass.

    Parameters
    ----------
    doing : str
        What is done, for the message: "the extraction".
    batch : str
        Key of the batch size to lower where memory is not enough.
    size : int
        Its value.
    """
    try:
        yield
    except AsvpError:
        raise
    except Exception as error:
        if device_out_of_memory(error):
            raise _no_memory(doing, batch, size, DeviceMemoryError) from None
        if out_of_memory(error):
            raise _no_memory(doing, batch, size) from None
        raise WorkError(
            f"{doing} failed in the model: {first_line(error)}",
            key="encoder.model",
            mend="Try other rows and encoder.dtype float32; if it stays, the model is not fit for this use",
        ) from error


@contextmanager
def encoder_errors(message: str, *, key: str, value: object, mend: str | None = None) -> Iterator[None]:
    """Turn what loading or trying a model raises into an EncoderError; errors of ours pass."""
    try:
        yield
    except AsvpError:
        raise
    except Exception as error:
        # Damaged files and odd models fail in any way there is: AttributeError, TypeError, the Rust side's Exception.
        if out_of_memory(error):
            raise _no_memory("loading the encoder", key, value) from None
        raise EncoderError(f"{message}: {first_line(error)}", key=key, value=value, mend=mend) from error


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the processor's or the GPU's memory was not enough."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    text = str(error)
    return isinstance(error, RuntimeError) and bool(_NO_MEMORY.search(text) or _FROM_NVJPEG.search(text))


def device_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a GPU's memory was not enough: PyTorch's own, or one of CUDA's libraries."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    text = str(error)
    from_a_gpu = _FROM_A_GPU.search(text) or _FROM_NVJPEG.search(text)
    return isinstance(error, RuntimeError) and out_of_memory(error) and from_a_gpu is not None


def no_room_for_a_row(doing: str, *, batch: str, size: int | str) -> DeviceMemoryError:
    """The error for a row that does not even fit in a GPU's memory alone; parameters as of `work_errors`."""
    return DeviceMemoryError(
        f"there is not enough memory on the GPU for {doing}, not even for one row at a time",
        key=batch,
        value=size,
        mend="Use a smaller model or a GPU with more memory; of texts, lower encoder.max_length",
    )


def empty_device_cache(device: torch.device) -> None:
    """Give back the GPU memory that PyTorch holds for tensors to come; on a CPU there is none, and nothing is done."""
    if device.type == "cuda":
        # A model in a circle of references still has its memory.
        gc.collect()
        torch.cuda.empty_cache()


def find_device(name: str | torch.device | None, *, key: str = "device") -> torch.device:
    """The device of a name; None is a GPU if there is one, else the CPU. Nothing else asks whether there is one.

    Raises
    ------
    ConfigError
        If there is no such device here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        # The only way to know that a device can be used is to use it.
        torch.empty(1, device=device).add_(1)
    except Exception as error:
        raise ConfigError(
            f"this device cannot be used here: {first_line(error)}",
            key=key,
            value=str(name),
            mend="Use cpu, or leave it out",
        ) from None
    if device.type not in ("cpu", "cuda"):
        raise ConfigError("models run on cpu or cuda", key=key, value=str(name), mend="Use cpu, or leave it out")
    return device


def _no_memory(doing: str, key: str, value: object, kind: type[WorkError] = WorkError) -> WorkError:
    return kind(
        f"there is not enough memory for {doing}", key=key, value=value, mend="Lower it, or use a smaller model"
    )
