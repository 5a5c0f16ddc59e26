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
