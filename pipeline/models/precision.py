"""Which type the matrix products run in: chosen from what the processor has, confirmed by a short probe."""

from __future__ import annotations

import platform
import time
from contextlib import AbstractContextManager
from functools import cache
from pathlib import Path

import torch
from torch import nn

from asvp.config import EncoderConfig
from asvp.errors import EncoderError
from asvp.models.threads import cpu_threads

_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
_SMALLEST_WIDTH = 128
"""Below this width the products are too small to gain; no probe, so tiny models decide alike everywhere."""
_CPU_FLAGS = ("avx512_bf16", "amx_bf16", "bf16")


def decide_dtype(config: EncoderConfig, device: torch.device, width: int) -> str:
    """Resolve `encoder.dtype` to float32, bfloat16 or float16.

    Parameters
    ----------
    config : EncoderConfig
        Its `dtype` decides, unless it is "auto".
    device : torch.device
        Where the products run.
    width : int
        The encoder's hidden width, which the probe multiplies with.

    Returns
    -------
    str
        For "auto" on a GPU, bfloat16 if it is native there. On a CPU, bfloat16 if the processor has instructions for
        it and a transformer-like block of this width is faster with it; the answer is kept for the life of the
        process. Write it into the resolved config, so that all processes of a run use one type.
    """
    if config.dtype != "auto":
        if device.type == "cuda" and config.dtype == "bfloat16" and not torch.cuda.is_bf16_supported():
            raise EncoderError("this GPU has no bfloat16", key="encoder.dtype", value=config.dtype, mend="Use float16")
        return config.dtype
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float32"
    if device.type != "cpu" or width < _SMALLEST_WIDTH or not cpu_has_bfloat16():
        return "float32"
    return "bfloat16" if _bfloat16_is_faster(width) else "float32"


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


@cache
def _bfloat16_is_faster(width: int) -> bool:
    """Whether a feed-forward block of this width takes a tenth less time in bfloat16, best of interleaved tries.

    On one thread, as an actor has it: on a busy machine several threads wait for each other in both types, and a
    process with more threads would choose another type than its actors.
    """
    with torch.random.fork_rng(devices=[]):
        block = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width), nn.LayerNorm(width))
        rows = torch.randn(512, width)
    best = {False: float("inf"), True: float("inf")}
    with cpu_threads(1), torch.inference_mode():
        for attempt in range(6):
            for enabled in (False, True):
                with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
                    start = time.perf_counter()
                    block(rows)
                    # The first try pays for packing and code generation.
                    if attempt:
                        best[enabled] = min(best[enabled], time.perf_counter() - start)
    return best[True] < 0.9 * best[False]
