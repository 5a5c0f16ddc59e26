"""A session's trainings fit themselves into a GPU's memory; the GPU is an encoder that refuses many rows."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config
from torch import Tensor

from asvp.compute import session as session_module
from asvp.compute.jobs import FineTuneJob
from asvp.compute.session import EncoderSession, ShardJob
from asvp.config import Config
from asvp.data import Dataset, open_dataset
from asvp.errors import ConfigError, DeviceMemoryError, WorkError
from asvp.models.encoder import Encoder
from asvp.models.training.finetune import fine_tune

SHARD = ShardJob(0, 0, 20, "float32")
ROWS = np.arange(40)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return open_dataset(config.data)


@pytest.fixture
def session(config: Config) -> EncoderSession:
    return EncoderSession(config.encoder, "text", device="cpu")


def job(config: Config, dataset: Dataset, **training: object) -> FineTuneJob:
    settings = config.training.model_copy(update={"batch_size": 16, "epochs": 2, "lr": 1e-3, **training})
    return FineTuneJob("ft", dataset.pool, ROWS, ROWS % len(dataset.classes), len(dataset.classes), settings, 0, "x")


class Gpu:
    """Stands in for a GPU's memory: training more rows at a time than so many fails, from some pass on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, most: int, error: type[Exception], after: int = 0) -> None:
        self.passes: list[int] = []
        features = Encoder.features

        def limited(encoder: Encoder, tensors: Mapping[str, Tensor]) -> Tensor:
            rows = len(tensors["input_ids"])
            self.passes.append(rows)
            if rows > most and len(self.passes) > after:
                raise error("CUDA out of memory. Tried to allocate 2.00 GiB")
            return features(encoder, tensors)

        monkeypatch.setattr(Encoder, "features", limited)


def test_a_training_that_does_not_fit_begins_again_with_half_the_rows_at_a_time(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = job(config, dataset)
    encoder = Encoder.load(config.encoder, "text", device="cpu")
    expected = fine_tune(
        encoder, dataset.pool.take(ROWS), work.labels, classes=work.classes, config=work.training, seed=0, micro_batch=4
    )
    # It fails after a step has changed the weights.
    gpu = Gpu(monkeypatch, 5, torch.OutOfMemoryError, after=1)
    head, weights = session.train(work)
    assert gpu.passes[:4] == [16, 16, 8, 4]
    assert max(gpu.passes[3:]) == 4
    np.testing.assert_array_equal(head.weight, expected.weight)
    assert weights is not None
    for name, array in encoder.state().items():
        np.testing.assert_array_equal(weights[name], array, err_msg=name)


def test_the_next_training_starts_with_what_fitted(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(monkeypatch, 5, torch.OutOfMemoryError)
    first = session.train(job(config, dataset))
    gpu.passes.clear()
    again = session.train(job(config, dataset))
    assert max(gpu.passes) == 4
    np.testing.assert_array_equal(again[0].weight, first[0].weight)
    # Batches that are smaller anyhow stay whole, and what fitted is not forgotten.
    gpu.passes.clear()
    session.train(job(config, dataset, batch_size=2))
    session.train(job(config, dataset))
    assert max(gpu.passes) == 4
    assert 16 not in gpu.passes


def test_where_one_row_does_not_fit_the_error_names_the_batch_size(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = session.extract(SHARD, dataset.pool)[0]
    with monkeypatch.context() as patch:
        gpu = Gpu(patch, 0, torch.OutOfMemoryError)
        with pytest.raises(DeviceMemoryError, match=r"training\.batch_size: .*not even for one row.*\(got 16\)"):
            session.train(job(config, dataset))
        assert gpu.passes == [16, 8, 4, 2, 1]
    assert session.extract(SHARD, dataset.pool)[0].equals(before)
    session.train(job(config, dataset))


def test_few_rows_are_halved_from_what_they_are(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(monkeypatch, 5, torch.OutOfMemoryError)
    session.train(job(config, dataset, batch_size=1000))
    assert gpu.passes[:4] == [40, 20, 10, 5]


def test_the_machines_memory_is_not_tried_again(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = Gpu(monkeypatch, 0, MemoryError)
    with pytest.raises(WorkError, match=r"training\.batch_size: there is not enough memory for training") as caught:
        session.train(job(config, dataset))
    assert not isinstance(caught.value, DeviceMemoryError)
    assert gpu.passes == [16]


def test_memory_is_given_back_between_tries_and_between_kinds_of_work(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    emptied: list[str] = []
    monkeypatch.setattr(session_module, "empty_device_cache", lambda device: emptied.append(device.type))
    counts = []
    extract, train = (lambda: session.extract(SHARD, dataset.pool)), (lambda: session.train(job(config, dataset)))
    for work in (extract, extract, train, train, extract, extract, train):
        work()
        counts.append(len(emptied))
    assert counts == [0, 0, 1, 1, 2, 2, 3]
    Gpu(monkeypatch, 5, torch.OutOfMemoryError)
    train()
    assert len(emptied) == 5
    assert set(emptied) == {"cpu"}


def test_nothing_of_a_try_that_failed_is_held_when_its_memory_is_given_back(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[bool] = []
    model = weakref.ref(session.encoder.model)

    def noted(device: torch.device) -> None:
        gc.collect()
        held.append(model() is not None)

    monkeypatch.setattr(session_module, "empty_device_cache", noted)
    Gpu(monkeypatch, 8, torch.OutOfMemoryError)
    session.train(job(config, dataset))
    assert held == [False]


def test_a_session_runs_on_the_device_it_was_given(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert EncoderSession(config.encoder, "text", device="cpu").encoder.device == torch.device("cpu")
    with pytest.raises(ConfigError, match="device: models run on cpu or cuda"):
        _ = EncoderSession(config.encoder, "text", device="meta").encoder
