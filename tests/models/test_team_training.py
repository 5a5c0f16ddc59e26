"""A model that several train together is the model that one trains, up to rounding; its members are threads here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpus import on_a_gpu
from tiny_encoders import tiny_image_encoder, tiny_images, tiny_text_encoder, tiny_texts
from torch import Tensor

from asvp.config import EncoderConfig, TrainingConfig
from asvp.errors import DeviceMemoryError, TeamLostError
from asvp.models.encoder import Encoder
from asvp.models.encoder.inputs import TextInputs
from asvp.models.proxy import Head
from asvp.models.training.finetune import fine_tune
from asvp.models.training.team import Team, begin, come, open_store, process_team, reach_store, ready

TEXTS, LABELS = tiny_texts(41)
LABELS = np.array(LABELS)
CONFIG = TrainingConfig(epochs=3, batch_size=16, lr=1e-3, head_lr=1e-2)
TOLERANCE = 2e-5
"""Of weights after steps of 1e-3, as docs/encoders.md says."""

Trained = tuple[Head, dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Without dropout, which draws other numbers for each piece."""
    made = tmp_path_factory.mktemp("tiny") / "text"
    return tiny_text_encoder(made, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)


def load(folder: Path, kind: str = "text") -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder)), kind, device="cpu")


def together(size: int, train: Callable[[Team], Trained]) -> list[Trained | Exception]:
    """What each of a team makes, or raises."""
    store = open_store()

    def member(rank: int) -> Trained | Exception:
        torch.set_num_threads(1)
        try:
            own = reach_store(store.port) if rank else store
            if rank:
                come(own)
            with process_team(own, rank, size, torch.device("cpu")) as team:
                return train(team)
        except Exception as error:
            return error

    begin(store)
    with ThreadPoolExecutor(size) as members:
        found = list(members.map(member, range(size)))
    assert ready(store) == size - 1
    return found


def trained_by(size: int, folder: Path, rows: int = 41, config: TrainingConfig = CONFIG, **rest: object) -> Trained:
    """By the first of a team; the others must have come to the same weights."""

    def train(team: Team | None) -> Trained:
        encoder = load(folder)
        head = fine_tune(encoder, TEXTS[:rows], LABELS[:rows], classes=3, config=config, seed=4, team=team, **rest)
        return head, encoder.state()

    if size == 1:
        return train(None)
    first, *others = together(size, train)
    assert isinstance(first, tuple), first
    for other in others:
        assert isinstance(other, tuple), other
        np.testing.assert_array_equal(other[0].weight, first[0].weight)
        for name, array in first[1].items():
            np.testing.assert_array_equal(other[1][name], array, err_msg=name)
    return first


def assert_close(one: Trained, other: Trained) -> None:
    np.testing.assert_allclose(one[0].weight, other[0].weight, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(one[0].bias, other[0].bias, rtol=0, atol=TOLERANCE)
    for name, array in other[1].items():
        np.testing.assert_allclose(one[1][name], array, rtol=0, atol=TOLERANCE, err_msg=name)


@pytest.mark.parametrize("size", [2, 3])
@pytest.mark.parametrize("rows", [41, 35], ids=["rest of 9", "rest of 3"])
def test_several_train_the_model_that_one_trains(folder: Path, size: int, rows: int) -> None:
    assert_close(trained_by(size, folder, rows), trained_by(1, folder, rows))


def test_as_many_train_the_same_model_again(folder: Path) -> None:
    (one, weights), (other, again) = (trained_by(2, folder, 41) for _ in range(2))
    np.testing.assert_array_equal(one.weight, other.weight)
    for name, array in weights.items():
        np.testing.assert_array_equal(again[name], array, err_msg=name)


def test_a_last_batch_of_fewer_rows_than_members_counts_each_row_once(folder: Path) -> None:
    config = CONFIG.model_copy(update={"batch_size": 33})
    # Batches of 33 and 2 rows; a model of an odd first row would show in the weights.
    assert_close(trained_by(4, folder, 35, config), trained_by(1, folder, 35, config))


def test_class_weights_and_smaller_pieces_of_a_members_own_change_nothing(folder: Path) -> None:
    config = CONFIG.model_copy(update={"class_weight": "balanced"})
    rows = 38
    assert_close(trained_by(2, folder, rows, config, micro_batch=3), trained_by(1, folder, rows, config))


def test_members_look_at_the_rows_of_one_order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[int, ...]] = []
    collate = TextInputs.collate

    def watched(inputs: TextInputs, examples: Any, positions: np.ndarray, *more: Any) -> object:
        seen.append(tuple(positions.tolist()))
        return collate(inputs, examples, positions, *more)

    monkeypatch.setattr(TextInputs, "collate", watched)

    def batches(size: int) -> list[tuple[int, ...]]:
        seen.clear()
        trained_by(size, folder, 40, CONFIG.model_copy(update={"epochs": 1, "batch_size": 20}))
        # Encoders are tried on one row when they are loaded, and on the first eight after the training.
        return [rows for rows in seen if len(rows) in (10, 20)]

    whole, pieces = batches(1), batches(2)
    assert sorted(pieces) == sorted(half for rows in whole for half in (rows[:10], rows[10:]))


def test_images_have_the_same_augmentation(tmp_path: Path) -> None:
    folder = tiny_image_encoder(tmp_path / "vit")
    images, labels = tiny_images(13)

    def train(team: Team | None) -> Trained:
        encoder = load(folder, "image")
        config = CONFIG.model_copy(update={"batch_size": 5, "epochs": 2})
        head = fine_tune(encoder, images, np.array(labels), classes=3, config=config, seed=1, team=team)
        return head, encoder.state()

    first, second = together(2, train)
    assert isinstance(first, tuple), first
    assert isinstance(second, tuple), second
    assert_close(first, train(None))


@on_a_gpu
def test_numbers_go_over_nccl_on_a_gpu(folder: Path) -> None:
    """A team of one: NCCL wants a GPU for each, and one is what most machines with a GPU have."""

    def train(team: Team | None) -> Trained:
        encoder = Encoder.load(EncoderConfig(model=str(folder), dtype="float32"), "text", device="cuda")
        # In pieces, so that steps are not replayed as graphs.
        head = fine_tune(
            encoder, TEXTS, LABELS, classes=3, config=CONFIG, seed=4, micro_batch=CONFIG.batch_size, team=team
        )
        return head, encoder.state()

    store = open_store()
    begin(store)
    with process_team(store, 0, 1, torch.device("cuda")) as team:
        found = train(team)
    assert_close(found, train(None))
    with pytest.raises(KeyError), process_team(open_store(), 0, 1, torch.device("cuda")):
        raise KeyError("its connections are let go too")


def test_a_failure_of_one_ends_the_training_of_all_and_the_one_says_what_it_was(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small: list[Encoder] = []
    features = Encoder.features

    def limited(encoder: Encoder, tensors: Mapping[str, Tensor]) -> Tensor:
        if encoder in small:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return features(encoder, tensors)

    monkeypatch.setattr(Encoder, "features", limited)

    def train(team: Team) -> Trained:
        encoder = load(folder)
        if team.rank == 1:
            small.append(encoder)
        head = fine_tune(encoder, TEXTS, LABELS, classes=3, config=CONFIG, seed=4, team=team)
        return head, encoder.state()

    assert [type(found) for found in together(3, train)] == [TeamLostError, DeviceMemoryError, TeamLostError]


def test_one_that_has_gone_is_missed(folder: Path) -> None:
    def train(team: Team) -> Trained:
        if team.rank == 1:
            raise KeyError("gone before the first step")
        encoder = load(folder)
        head = fine_tune(encoder, TEXTS, LABELS, classes=3, config=CONFIG, seed=4, team=team)
        return head, encoder.state()

    first, second = together(2, train)
    assert isinstance(first, TeamLostError)
    assert isinstance(second, KeyError)


def test_where_it_does_not_begin_those_who_have_come_go_again() -> None:
    store = open_store()
    with ThreadPoolExecutor(1) as members:
        waits = members.submit(come, reach_store(store.port))
        begin(store, False)
        with pytest.raises(TeamLostError, match="does not begin"):
            waits.result()
    assert ready(store) == 1
