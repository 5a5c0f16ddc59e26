"""What does not fit in a GPU's memory goes through the model in pieces; the GPU is a model that refuses many rows."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_image_encoder, tiny_images, tiny_text_encoder, tiny_texts
from torch import Tensor, nn

from asvp.config import EncoderConfig, TrainingConfig
from asvp.errors import ConfigError, DeviceMemoryError, WorkError
from asvp.models.encoder import Encoder
from asvp.models.encoder.inputs import Batch
from asvp.models.failures import empty_device_cache
from asvp.models.proxy import Head
from asvp.models.training.finetune import fine_tune, largest_batch

TEXTS = tiny_texts(41)[0]
UNEVEN = np.array([0, 0, 1, 0, 0, 2, 0, 1, 0, 0] * 4 + [2])
"""Labels whose classes weigh so differently that pieces of a batch do too."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text_encoder(tmp_path_factory.mktemp("tiny") / "text")


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder without dropout."""
    folder = tmp_path_factory.mktemp("steady") / "text"
    return tiny_text_encoder(folder, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def load(folder: Path, **options: object) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder), dtype="float32", **options), "text", device="cpu")


def trained(folder: Path, config: TrainingConfig, micro_batch: int | None, rows: int = 41) -> dict[str, np.ndarray]:
    encoder = load(folder)
    head = fine_tune(encoder, TEXTS[:rows], UNEVEN[:rows], classes=3, config=config, seed=4, micro_batch=micro_batch)
    return {**encoder.state(), "head.weight": head.weight, "head.bias": head.bias}


def refuse(encoder: Encoder, most: int, monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> list[int]:
    """Let an encoder fail for more rows than so many; gives the rows of each forward pass, filled from then on."""
    passes: list[int] = []
    forward = encoder._features

    def limited(model: object, tensors: Mapping[str, Tensor]) -> Tensor:
        rows = len(next(iter(tensors.values())))
        passes.append(rows)
        if rows > most:
            raise error("CUDA out of memory. Tried to allocate 2.00 GiB")
        return forward(model, tensors)

    monkeypatch.setattr(encoder, "_features", limited)
    return passes


@pytest.mark.parametrize("class_weight", [None, "balanced"])
@pytest.mark.parametrize("micro_batch", [1, 3, 15])
def test_pieces_of_a_batch_train_as_the_whole_batch_does(
    steady: Path, class_weight: str | None, micro_batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its gradients, with rates that leave the weights alone: AdamW makes much of roundings near zero."""
    gradients: list[np.ndarray] = []

    def noted(parameters: list[nn.Parameter], most: float) -> None:
        slopes = [parameter.grad.flatten() for parameter in parameters if parameter.grad is not None]
        gradients.append(torch.cat(slopes).numpy().copy())

    monkeypatch.setattr(nn.utils, "clip_grad_norm_", noted)
    # Of 38 rows the last batch has 6.
    config = TrainingConfig(epochs=1, batch_size=16, lr=1e-30, head_lr=1e-30, class_weight=class_weight)
    trained(steady, config, None, rows=38)
    trained(steady, config, micro_batch, rows=38)
    assert len(gradients) == 6
    for whole, pieces in zip(gradients[:3], gradients[3:], strict=True):
        assert np.linalg.norm(pieces - whole) < 1e-5 * np.linalg.norm(whole)


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_a_batch_in_one_piece_is_trained_to_the_last_bit_as_without_pieces(
    folder: Path, class_weight: str | None
) -> None:
    config = TrainingConfig(epochs=2, batch_size=16, lr=1e-3, class_weight=class_weight)
    whole, once, wide = (trained(folder, config, most, rows=38) for most in (None, 16, 1000))
    for name, array in whole.items():
        np.testing.assert_array_equal(once[name], array, err_msg=name)
        np.testing.assert_array_equal(wide[name], array, err_msg=name)


def test_pieces_repeat_themselves_with_the_seed(folder: Path) -> None:
    config = TrainingConfig(epochs=1, batch_size=16, lr=1e-3)
    one, other = (trained(folder, config, 3) for _ in range(2))
    for name, array in one.items():
        np.testing.assert_array_equal(other[name], array, err_msg=name)


def test_no_piece_has_more_rows_than_allowed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load(folder)
    passes = refuse(encoder, 1000, monkeypatch, MemoryError)
    config = TrainingConfig(epochs=1, batch_size=16)
    fine_tune(encoder, TEXTS[:33], UNEVEN[:33], classes=3, config=config, seed=0, micro_batch=6)
    # 16 rows, then 17, as a rest of one joins; what was trained is tried on 8 rows.
    assert passes == [5, 5, 6, 5, 6, 6, 4, 4]
    assert largest_batch(33, 16) == 17
    assert [largest_batch(rows, 16) for rows in (1, 5, 16, 32)] == [1, 5, 16, 16]


def test_augmentation_does_not_depend_on_the_pieces(tmp_path: Path) -> None:
    folder, images = tiny_image_encoder(tmp_path), tiny_images(9)[0]
    config = TrainingConfig(epochs=2, batch_size=8, lr=1e-3, augment=True)
    states = []
    for micro_batch in (None, 3):
        encoder = Encoder.load(EncoderConfig(model=str(folder), dtype="float32"), "image", device="cpu")
        fine_tune(encoder, images, np.arange(9) % 3, classes=3, config=config, seed=0, micro_batch=micro_batch)
        states.append(encoder.state())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("micro_batch", [0, -1])
def test_a_micro_batch_without_rows_is_refused(folder: Path, micro_batch: int) -> None:
    with pytest.raises(ConfigError, match=r"micro_batch: must be at least 1 row \(got "):
        trained(folder, TrainingConfig(epochs=1), micro_batch)


def test_a_training_that_does_not_fit_is_a_device_memory_error(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load(folder)
    refuse(encoder, 4, monkeypatch, torch.OutOfMemoryError)
    config = TrainingConfig(epochs=1, batch_size=8)
    with pytest.raises(DeviceMemoryError, match=r"training\.batch_size: there is not enough memory .*\(got 8\)"):
        fine_tune(encoder, TEXTS, UNEVEN, classes=3, config=config, seed=0)
    assert not encoder.model.training
    start = Head(np.zeros((3, 32), np.float32), np.zeros(3, np.float32))
    fine_tune(encoder, TEXTS, UNEVEN, classes=3, config=config, seed=0, head=start, micro_batch=4)


def test_a_batch_that_does_not_fit_is_encoded_in_pieces(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Batches of 16 rows, whatever the lengths of the texts are.
    monkeypatch.setattr("asvp.models.encoder.inputs._PADDING_ON_CPU", np.inf)
    encoder = load(folder, batch_size=16)
    expected = encoder.encode(TEXTS)
    passes = refuse(encoder, 3, monkeypatch, torch.OutOfMemoryError)
    np.testing.assert_allclose(encoder.encode(TEXTS), expected, atol=1e-6)
    assert sum(rows for rows in passes if rows <= 3) == 41
    assert passes[:3] == [16, 8, 4]
    # What was too large once is cut without another try, as long as its rows are not shorter.
    assert len([rows for rows in passes if rows > 3]) < 6


def test_what_does_not_fit_is_found_out_once_and_pieces_are_the_same_each_time(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(folder, batch_size=16)
    passes = refuse(encoder, 5, monkeypatch, torch.OutOfMemoryError)
    one = encoder.encode(TEXTS)
    first = passes.copy()
    assert max(first) > 5
    passes.clear()
    for _ in range(3):
        np.testing.assert_array_equal(encoder.encode(TEXTS), one)
    assert passes == [rows for rows in first if rows <= 5] * 3


def test_a_row_that_does_not_fit_alone_names_the_batch_size(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load(folder, batch_size=8)
    passes = refuse(encoder, 0, monkeypatch, torch.OutOfMemoryError)
    with pytest.raises(DeviceMemoryError, match=r"encoder\.batch_size: .*not even for one row at a time \(got 8\)"):
        encoder.encode(TEXTS)
    assert passes == [8, 4, 2, 1]


def test_the_machines_memory_is_not_tried_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = load(folder, batch_size=8)
    passes = refuse(encoder, 0, monkeypatch, MemoryError)
    with pytest.raises(WorkError, match=r"encoder\.batch_size: there is not enough memory for encoding") as caught:
        encoder.encode(TEXTS)
    assert not isinstance(caught.value, DeviceMemoryError)
    assert passes == [8]


def test_the_halves_of_a_batch_are_its_rows_in_order() -> None:
    tokens = torch.arange(15).view(5, 3)
    batch = Batch(np.array([4, 0, 2, 9, 7]), {"input_ids": tokens})
    first, last = batch.halves()
    assert (batch.size, first.size, last.size) == (15, 6, 9)
    assert [first.positions.tolist(), last.positions.tolist()] == [[4, 0], [2, 9, 7]]
    assert torch.equal(torch.cat([first.tensors["input_ids"], last.tensors["input_ids"]]), tokens)


def test_the_store_of_memory_is_emptied_on_a_gpu_only(monkeypatch: pytest.MonkeyPatch) -> None:
    emptied: list[int] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(1))
    empty_device_cache(torch.device("cpu"))
    assert emptied == []
    empty_device_cache(torch.device("cuda"))
    assert emptied == [1]
