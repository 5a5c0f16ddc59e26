"""What work is done on."""

from __future__ import annotations

import os
from typing import Any

import torch

from asvp.compute.processor import processor


def describe_machine(device: str) -> dict[str, Any]:
    """The processor, cores, threads and GPUs of this process, whose work is done on a device."""
    gpus = range(torch.cuda.device_count()) if device == "cuda" else ()
    return {
        "processor": processor(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpus": [torch.cuda.get_device_name(number) for number in gpus],
    }


def warm_up(device: str) -> None:
    """Pay for a process's first use of a GPU, so that no job does: context, libraries of matrix products, convolutions.

    It takes up to ten seconds on a fresh machine. Nothing on a CPU.
    """
    if device == "cpu":
        return
    square = torch.ones(8, 8, device=device)
    torch.nn.functional.conv2d((square @ square)[None, None], square[None, None, :3, :3])
    torch.cuda.synchronize()
