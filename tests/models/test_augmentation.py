"""Crops for training lie inside the images, in the shapes and areas they should have, and are resized as by PyTorch."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gpus import on_a_gpu
from torch.nn import functional

from asvp.compute import jobs
from asvp.compute.jobs import FineTuneJob
from asvp.config import TrainingConfig
from asvp.models.encoder.augmentation import _boxes, cut, drawn_numbers

CPU = torch.device("cpu")


def pictures(count: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (3, *rng.integers(3, 70, 2)), dtype=np.uint8) for _ in range(count)]


def test_crops_have_the_areas_and_proportions_that_were_asked_for() -> None:
    rows = 20_000
    sides = np.full(rows, 400)
    top, left, height, width = _boxes(drawn_numbers(rows, 0, 0), sides, sides).T
    assert (np.stack([top, left]) >= 0).all()
    assert (top + height <= 400).all()
    assert (left + width <= 400).all()
    share, ratio = height * width / 400**2, width / height
    assert share.min() == pytest.approx(0.08, abs=0.002)
    assert share.max() > 0.95
    # Of a square all areas up to 3/4 fit in any proportions, and a larger one, a, in -log(a) / log(4/3) of them.
    all_that_fit = (0.75 - 0.08) + (0.25 + 0.75 * np.log(0.75)) / np.log(4 / 3)
    quarters = 0.08 + np.array([0.25, 0.5]) * all_that_fit
    assert np.quantile(share, [0.25, 0.5]) == pytest.approx(quarters, abs=0.01)
    assert ratio.min() > 0.74
    assert ratio.max() < 1.35
    assert np.exp(np.log(ratio).mean()) == pytest.approx(1.0, abs=0.01)
    # A crop that leaves room lies anywhere in it.
    free = 400 - height > 50
    assert (top[free] / (400 - height[free])).mean() == pytest.approx(0.5, abs=0.01)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 500), (500, 1), (3, 900)])
def test_of_an_image_in_which_no_crop_fits_the_middle_is_taken(height: int, width: int) -> None:
    boxes = _boxes(drawn_numbers(200, 0, 0), np.full(200, height), np.full(200, width))
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2:] >= 1).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= [height, width]).all()
    if 1 in (height, width):
        assert (boxes[:, 2:] == 1).all()
        assert (boxes[:, :2] == [(height - 1) // 2, (width - 1) // 2]).all()


def test_pieces_are_resized_and_turned_as_by_pytorch_one_by_one() -> None:
    images, numbers = pictures(40), drawn_numbers(40, 1, 3)
    crops = cut(images, numbers)
    assert crops.flipped.any()
    assert not crops.flipped.all()
    made, together = crops.resized((17, 23), CPU), crops.together((17, 23), CPU)
    assert made.shape == together.shape == (40, 3, 17, 23)
    assert made.dtype == together.dtype == torch.uint8
    boxes = _boxes(numbers, *np.array([image.shape[1:] for image in images]).T)
    for row, (top, left, height, width) in enumerate(boxes.tolist()):
        piece = torch.from_numpy(images[row][:, top : top + height, left : left + width].astype(np.float32))
        wanted = functional.interpolate(piece[None], (17, 23), mode="bilinear", align_corners=False)[0]
        wanted = wanted.flip(-1) if numbers[row, -1] < 0.5 else wanted
        assert (made[row].float() - wanted).abs().max() <= 1
        assert (together[row].float() - wanted).abs().max() <= 0.51


@on_a_gpu
def test_a_gpu_makes_the_same_pixels_up_to_a_level() -> None:
    crops = cut(pictures(70), drawn_numbers(70, 1, 3))
    made = crops.resized((17, 23), torch.device("cuda"))
    assert made.is_cuda
    assert (made.cpu().int() - crops.resized((17, 23), CPU).int()).abs().max() <= 1


def test_no_row_depends_on_those_beside_it() -> None:
    images, numbers = pictures(9), drawn_numbers(9, 0, 0)
    whole = cut(images, numbers)
    for row in range(9):
        alone = cut(images[row : row + 1], numbers[row : row + 1])
        assert torch.equal(alone.resized((32, 32), CPU)[0], whole.resized((32, 32), CPU)[row])
        assert torch.equal(alone.together((32, 32), CPU)[0], whole.together((32, 32), CPU)[row])


def test_numbers_are_those_of_a_seed_an_epoch_and_a_row() -> None:
    numbers = drawn_numbers(5, 0, 0)
    np.testing.assert_array_equal(drawn_numbers(5, 0, 0), numbers)
    assert len(np.unique(np.concatenate([numbers, drawn_numbers(5, 0, 1), drawn_numbers(5, 1, 0)]))) == 3 * 5 * 23


@pytest.mark.parametrize(
    ("kind", "augment", "follows"), [("image", True, True), ("image", False, False), ("text", True, False)]
)
def test_a_model_of_augmented_images_has_another_key_when_they_are_augmented_otherwise(
    monkeypatch: pytest.MonkeyPatch, kind: str, augment: bool, follows: bool
) -> None:
    source: Any = SimpleNamespace(kind=kind, digest=lambda: "rows")
    rows = np.arange(4)
    job = FineTuneJob("ft", source, rows, rows % 2, 2, TrainingConfig(augment=augment), 0, "encoder")
    before = job.key
    monkeypatch.setattr(jobs, "AUGMENTATION", "another")
    assert (job.key != before) == follows
