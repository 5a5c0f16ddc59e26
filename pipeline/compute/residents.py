"""Features that stay in a device's memory from round to round, so that a pool is not sent there again to be scored."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from asvp.features.feature_set import Features, FeatureSet
from asvp.features.side_by_side import SideBySide
from asvp.selection.rows import Array

_BLOCK_ROWS = 1 << 16
_SHARE = 0.25
"""Of the memory that is free, at most so much: the rest is for training and selection."""


class ResidentFeatures:
    """Features of all rows as tensors on a device, read like any other by models that score them.

    Parameters
    ----------
    halves : sequence of (Tensor, float)
        (N, D) as stored, and what it is divided by: one for a version, two for two side by side.
    """

    def __init__(self, halves: list[tuple[Tensor, float]]) -> None:
        self._halves = halves

    def __len__(self) -> int:
        return len(self._halves[0][0])

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        return sum(half.shape[1] for half, _ in self._halves)

    # Models take tensors for arrays.
    def span(self, start: int, stop: int) -> Array:
        """Rows `start` up to `stop`, (stop - start, D), on the device."""
        return self._joined([half[start:stop] for half, _ in self._halves])

    def gather(self, rows: Array) -> Array:
        """The rows named, on the device."""
        wanted = torch.from_numpy(np.asarray(rows, np.int64)).to(self._halves[0][0].device)
        return self._joined([half[wanted] for half, _ in self._halves])

    def blocks(self) -> Iterator[tuple[int, Array]]:
        """Yield (first row, features) for many rows at a time."""
        for start in range(0, len(self), _BLOCK_ROWS):
            yield start, self.span(start, min(start + _BLOCK_ROWS, len(self)))

    def _joined(self, read: list[Tensor]) -> Array:
        scales = [scale for _, scale in self._halves]
        if len(read) == 1:
            return read[0]  # type: ignore[return-value]
        scaled = [half.float() / scale for half, scale in zip(read, scales, strict=True)]
        return torch.cat(scaled, dim=1)  # type: ignore[return-value]


class Residents:
    """The feature versions that were read last, as many as fit.

    Parameters
    ----------
    device : str
    room : callable, optional
        Bytes that they may take all together; None: a share of what is free on the device, nothing on a CPU.
    """

    def __init__(self, device: str, room: Callable[[], int] | None = None) -> None:
        self._device = device
        self._room = room or self._share_of_free
        self._held: OrderedDict[str, Tensor] = OrderedDict()

    def rows_of(self, features: Features) -> Features | ResidentFeatures:
        """The features in the device's memory; as they are where they do not fit."""
        parts = features.parts
        if not self._make_room({part.fingerprint: part.nbytes for part in parts}):
            return features
        halves = [self._tensor(part) for part in parts]
        scales = features.scales if isinstance(features, SideBySide) else (1.0,)
        return ResidentFeatures(list(zip(halves, scales, strict=True)))

    def clear(self) -> None:
        """Let all go."""
        self._held.clear()

    def _make_room(self, wanted: dict[str, int]) -> bool:
        """Drop those that were read longest ago until the wanted ones fit; whether they do."""
        room = self._room() + sum(tensor.nbytes for tensor in self._held.values())
        if sum(wanted.values()) > room:
            return False
        others = [key for key in self._held if key not in wanted]
        taken = sum(wanted.values()) + sum(self._held[key].nbytes for key in others)
        for key in others:
            if taken <= room:
                break
            taken -= self._held.pop(key).nbytes
        return True

    def _tensor(self, part: FeatureSet) -> Tensor:
        if part.fingerprint not in self._held:
            held = torch.empty((len(part), part.dim), dtype=getattr(torch, part.dtype), device=self._device)
            for start, block in part.blocks():
                # Views on the object store are read-only, and tensors cannot be: what is copied is a copy already.
                held[start : start + len(block)] = torch.tensor(block)
            self._held[part.fingerprint] = held
        self._held.move_to_end(part.fingerprint)
        return self._held[part.fingerprint]

    def _share_of_free(self) -> int:
        return 0 if self._device == "cpu" else int(_SHARE * torch.cuda.mem_get_info()[0])
