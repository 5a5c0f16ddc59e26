"""Random resized crops and flips of images for training: each row has numbers of its own, whatever is beside it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from asvp.models.sending import sent
from asvp.seeds import derive_seed

_TRIES = 10
"""Draws of a crop's area and proportions, of which the first that lies inside the image counts."""
_NUMBERS = 2 * _TRIES + 3
_AREA = (0.08, 1.0)
_RATIO = (3 / 4, 4 / 3)
_ROWS_AT_ONCE = 32
"""Images that are resized together on a GPU, where each needs some 5 MB of places to look at."""


def drawn_numbers(rows: int, seed: int, epoch: int) -> np.ndarray:
    """What decides the augmentation of each row of a training in an epoch, (N, 23) float64 in 0..1."""
    return np.random.default_rng(derive_seed(seed, "augmentation", epoch)).random((rows, _NUMBERS))


@dataclass(frozen=True)
class Crops:
    """Pieces of images, cut out and not yet resized.

    Attributes
    ----------
    pieces : list of ndarray of shape (3, h, w), uint8
    flipped : ndarray of shape (n,), bool
        Which are to be turned left to right.
    """

    pieces: list[np.ndarray]
    flipped: np.ndarray

    def resized(self, size: tuple[int, int], device: torch.device) -> Tensor:
        """(n, 3, H, W) uint8 on a device, by bilinear interpolation between the pixels of a piece."""
        if device.type == "cpu":
            return torch.stack([_resized(piece, size, flip) for piece, flip in self._each()])
        spans = range(0, len(self.pieces), _ROWS_AT_ONCE)
        return torch.cat([self._some(slice(first, first + _ROWS_AT_ONCE)).together(size, device) for first in spans])

    def together(self, size: tuple[int, int], device: torch.device) -> Tensor:
        """The same in a few steps for all pieces, up to one level of 255; no row changes another's pixels."""
        begins = np.cumsum([0, *(piece.size for piece in self.pieces)])[:-1]
        heights, widths = np.array([piece.shape[1:] for piece in self.pieces]).T
        flat = sent(torch.from_numpy(np.concatenate([piece.reshape(-1) for piece in self.pieces])), device)
        small = sent(torch.from_numpy(np.array([begins, heights, widths, self.flipped], dtype=np.int64)), device)
        begin, height, width, flipped = small[:, :, None].unbind()
        top, bottom, down = _neighbours(height, size[0])
        left, right, across = _neighbours(width, size[1])
        turn = flipped.bool()
        left, right, across = (torch.where(turn, numbers.flip(1), numbers) for numbers in (left, right, across))
        planes = (begin + torch.arange(3, device=device) * height * width)[:, :, None, None]

        def row(lines: Tensor) -> Tensor:
            starts = planes + (lines * width)[:, None, :, None]
            first, second = (flat[starts + columns[:, None, None, :]].float() for columns in (left, right))
            return torch.lerp(first, second, across[:, None, None, :])

        mixed = torch.lerp(row(top), row(bottom), down[:, None, :, None])
        return mixed.round_().to(torch.uint8)

    def _each(self) -> zip[tuple[np.ndarray, bool]]:
        return zip(self.pieces, self.flipped.tolist(), strict=True)

    def _some(self, rows: slice) -> Crops:
        return Crops(self.pieces[rows], self.flipped[rows])


def cut(images: list[np.ndarray], numbers: np.ndarray) -> Crops:
    """Cut out of each image (3, h, w) uint8 what its numbers say."""
    heights, widths = np.array([image.shape[1:] for image in images], dtype=np.int64).T
    boxes = _boxes(numbers, heights, widths).tolist()
    pieces = [
        image[:, top : top + height, left : left + width]
        for image, (top, left, height, width) in zip(images, boxes, strict=True)
    ]
    return Crops(pieces, numbers[:, -1] < 0.5)


def _boxes(numbers: np.ndarray, heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
    """Top, left, height and width (n, 4) int64 of crops: 8 to 100 % of an image, 3:4 to 4:3, in its middle at worst."""
    areas, ratios = numbers[:, : 2 * _TRIES].reshape(-1, _TRIES, 2).transpose(2, 0, 1)
    area = (heights * widths)[:, None] * (_AREA[0] + (_AREA[1] - _AREA[0]) * areas)
    ratio = np.exp(np.log(_RATIO[0]) + (np.log(_RATIO[1]) - np.log(_RATIO[0])) * ratios)
    tried = np.stack([np.sqrt(area / ratio), np.sqrt(area * ratio)]).round().astype(np.int64)
    sides = np.stack([heights, widths])
    fits = np.all((tried >= 1) & (tried <= sides[:, :, None]), axis=0)
    found = np.any(fits, axis=1)
    first = tried[:, np.arange(len(numbers)), np.argmax(fits, axis=1)]
    most = np.stack([widths / _RATIO[0], heights * _RATIO[1]]).round().astype(np.int64)
    size = np.where(found, first, np.clip(most, 1, sides))
    free = sides - size
    where = np.where(found, np.floor(numbers[:, -3:-1].T * (free + 1)).astype(np.int64), free // 2)
    return np.concatenate([where, size]).T


def _resized(piece: np.ndarray, size: tuple[int, int], flip: bool) -> Tensor:
    whole = torch.from_numpy(np.ascontiguousarray(piece))[None]
    found = functional.interpolate(whole, size, mode="bilinear", align_corners=False)[0]
    return found.flip(-1) if flip else found


def _neighbours(length: Tensor, wanted: int) -> tuple[Tensor, Tensor, Tensor]:
    """For each new pixel of a side the two old ones that it lies between, and how far it is from the first; (n, H)."""
    places = (torch.arange(wanted, device=length.device) + 0.5) * (length.float() / wanted) - 0.5
    places = torch.minimum(places.clamp(min=0.0), (length - 1).float())
    before = places.floor().to(torch.int64)
    return before, torch.minimum(before + 1, length - 1), places - before
