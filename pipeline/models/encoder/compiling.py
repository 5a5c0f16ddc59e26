"""The forward pass compiled with torch.compile, where that is possible."""

from __future__ import annotations

from typing import Any

import torch
from transformers import PreTrainedModel

from asvp.errors import EncoderError, first_line

TRIED_ROWS = 5
"""Of the batch that a compiled model is tried on. Its numbers of rows and of tokens differ, and no other number of the
model's is the same, so that what is compiled for it serves batches of all sizes."""
DIFFERENCE = 0.02
"""Share of a feature's length that compiling may change: in bfloat16 products that it joins are rounded less often."""


def compiled(model: PreTrainedModel, device: torch.device) -> Any:
    """The model as a compiled forward pass, which is made with the first batches.

    Raises
    ------
    EncoderError
        If what compiling needs is not here.
    """
    check_compiling(device)
    return torch.compile(model, dynamic=True)


def check_compiling(device: torch.device) -> None:
    """EncoderError if what compiling needs is not here: a C++ compiler for a CPU, Triton for a GPU."""
    why, mend = _trouble(device)
    if why is not None:
        raise EncoderError(
            f"a forward pass cannot be compiled here: {why}", key="encoder.compile", value=True, mend=mend
        )


def _trouble(device: torch.device) -> tuple[str | None, str]:
    mend = "Install it on every machine with workers, or set encoder.compile to false"
    if device.type == "cuda":
        from torch.utils._triton import has_triton

        return (None if has_triton() else "Triton is not installed, or does not know this GPU"), mend
    from torch._inductor.cpp_builder import get_cpp_compiler

    try:
        get_cpp_compiler()
    except Exception as error:
        return f"there is no C++ compiler such as g++ ({first_line(error)})", mend
    return None, mend
