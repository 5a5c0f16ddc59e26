"""Which type the matrix products run in: chosen from what the processor has and how wide the model is."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch

from asvp.config import EncoderConfig
from asvp.errors import EncoderError

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SMALLEST_WIDTH = 128
"""Below this width the products are too small to gain."""
_CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def decide_dtype(config: EncoderConfig, device: torch.device, width: Callable[[], int]) -> str:
    """Resolve `encoder.dtype` to float32, bfloat16 or float16.

    Parameters
    ----------
    config : EncoderConfig
        Its `dtype` decides, unless it is "auto".
    device : torch.device
        Where the products run.
    width : callable
        Gives the encoder's hidden width; asked only where it decides.

    Returns
    -------
    str
        For "auto" on a GPU, bfloat16 if it is native there. On a CPU, bfloat16 if the processor has instructions for
        it and the model is at least 128 wide. Nothing is timed: one configuration has one type on one kind of machine,
        however busy it is.
    """
    if config.dtype != "auto":
        if device.type == "cuda" and config.dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
            raise EncoderError("this GPU has no bfloat16", key="encoder.dtype", value=config.dtype, mend="Use float16")
        return config.dtype
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type != "cpu" or not cpu_has_bfloat16() or width() < _SMALLEST_WIDTH:
        return "float32"
    return "bfloat16"


def matmul_context(device: torch.device, dtype_name: str) -> AbstractContextManager[object]:
    """Autocast to the type on the device; a context that does nothing for float32."""
    return torch.autocast(device.type, _DTYPES[dtype_name], enabled=dtype_name != "float32")


@cache
def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 matrices natively (AVX512-BF16, AMX, or Arm's BF16)."""
    if platform.machine() in ("x86_64", "AMD64"):
        capabilities = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
        if capabilities is not None and capabilities():
            return True
    try:
        words = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    except OSError:
        return False
    return any(flag in words for flag in _CPU_FLAGS)
