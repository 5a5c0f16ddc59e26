"""Tensors go to a GPU from pinned memory, once; the GPU is a stand-in that notes what it is asked for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import pytest
import torch

from asvp.models.sending import sent


@dataclass
class Watched:
    """What `sent` asks of a tensor."""

    device: torch.device
    pinned: bool
    asked: list[str] = field(default_factory=list)

    def is_pinned(self) -> bool:
        return self.pinned

    def pin_memory(self) -> Watched:
        self.asked.append("pinned")
        return self

    def to(self, device: torch.device, *, non_blocking: bool) -> Watched:
        self.asked.append(f"sent to {device}{' without waiting' if non_blocking else ''}")
        return self


@pytest.mark.parametrize(
    ("home", "pinned", "asked"),
    [
        ("cpu", False, ["pinned", "sent to cuda without waiting"]),
        ("cpu", True, ["sent to cuda without waiting"]),
        ("cuda", False, ["sent to cuda without waiting"]),
    ],
)
def test_a_copy_to_a_gpu_is_made_from_pinned_memory(home: str, pinned: bool, asked: list[str]) -> None:
    tensor = Watched(torch.device(home), pinned)
    sent(cast(Any, tensor), torch.device("cuda"))
    assert tensor.asked == asked


def test_on_a_cpu_nothing_is_copied() -> None:
    tensor = torch.arange(3)
    assert sent(tensor, torch.device("cpu")) is tensor
