"""A session's encoder has the weights it says it has, also after work that failed."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import numpy as np
import pytest
import torch
from tiny_runs import tiny_config

from asvp.compute.jobs import FineTuneJob, ShardJob
from asvp.compute.session import EncoderSession
from asvp.config import Config
from asvp.data import Dataset, open_dataset
from asvp.errors import DataError, EncoderError, WorkError
from asvp.features.table import features_of

SHARD = ShardJob(0, 0, 20, "float32")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return open_dataset(config.data)


@pytest.fixture
def session(config: Config) -> EncoderSession:
    return EncoderSession(config.encoder, "text")


def job(config: Config, dataset: Dataset, **training: object) -> FineTuneJob:
    settings = config.training.model_copy(update=training)
    labels = np.arange(40) % len(dataset.classes)
    return FineTuneJob("ft", dataset.pool, np.arange(40), labels, len(dataset.classes), settings, 0, "encoder")


def features(session: EncoderSession, dataset: Dataset) -> np.ndarray:
    return np.array(features_of(session.extract(SHARD, dataset.pool)))


def test_a_training_that_failed_leaves_the_pre_trained_weights(
    session: EncoderSession, config: Config, dataset: Dataset
) -> None:
    before = features(session, dataset)
    failing = job(config, dataset, lr=1e9, epochs=8)
    with pytest.raises(WorkError, match=r"training\.lr"):
        session.train(failing)
    np.testing.assert_array_equal(features(session, dataset), before)
    # Nor are there half-trained weights under the key of the job.
    with pytest.raises(WorkError, match=r"training\.lr"):
        session.train(failing)
    trained = session.train(job(config, dataset))
    again = EncoderSession(config.encoder, "text").train(job(config, dataset))
    np.testing.assert_array_equal(trained[0].weight, again[0].weight)


def test_an_interrupted_training_leaves_the_pre_trained_weights(
    session: EncoderSession, config: Config, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = features(session, dataset)
    encoder = session.encoder
    taken = encoder.features
    steps = []

    def interrupted(tensors: object) -> object:
        steps.append(1)
        if len(steps) == 2:
            raise KeyboardInterrupt
        return taken(tensors)

    monkeypatch.setattr(encoder, "features", interrupted)
    with pytest.raises(KeyboardInterrupt):
        session.train(job(config, dataset))
    np.testing.assert_array_equal(features(session, dataset), before)


def test_weights_that_do_not_fit_leave_the_pre_trained_ones(session: EncoderSession, dataset: Dataset) -> None:
    before = features(session, dataset)
    with pytest.raises(EncoderError, match="another model"):
        session.use("other", lambda: {"weight": np.zeros(3, np.float32)})
    np.testing.assert_array_equal(features(session, dataset), before)


def test_features_of_a_diverged_encoder_are_no_fault_of_a_row(session: EncoderSession, dataset: Dataset) -> None:
    state = {name: np.full_like(array, np.inf) for name, array in session.encoder.state().items()}
    session.use("diverged", lambda: state)
    with pytest.raises(WorkError, match=r"training\.lr: the training diverged.*20 of 20 rows"):
        features(session, dataset)


def test_a_row_that_half_precision_cannot_hold_is_named_with_the_type(config: Config, dataset: Dataset) -> None:
    session = EncoderSession(config.encoder.model_copy(update={"dtype": "bfloat16"}), "text")
    token = session.encoder.inputs.read(dataset.pool.take(np.array([7])))[0][1]
    name = "embeddings.word_embeddings.weight"
    state = session.encoder.state()
    state[name][token] = np.nan
    with_word = [
        row for row in range(20) if token in session.encoder.inputs.read(dataset.pool.take(np.array([row])))[0]
    ]
    session.encoder.load_state(state)
    with pytest.raises(DataError, match=rf"row {with_word[0]}\b.*not finite in bfloat16.*encoder.dtype float32"):
        features(session, dataset)


def test_shards_go_to_a_gpu_from_one_thread_whoever_asks(session: EncoderSession) -> None:
    seen: list[int] = []

    class Gpu:
        """An encoder on a GPU, as far as it is asked here."""

        device = torch.device("cuda")

        def begin_encoding(self, prepared: object) -> object:
            seen.append(threading.get_ident())
            assert torch.get_num_threads() == 3
            if prepared == "bad":
                raise DataError("no features", key="row")
            return prepared

    session.use(None, threads=3)
    gpu = cast(Any, Gpu())
    with ThreadPoolExecutor(4) as threads:
        assert list(threads.map(lambda shard: session._launched(gpu, shard), range(12))) == list(range(12))
    with pytest.raises(DataError, match="no features"):
        session._launched(gpu, cast(Any, "bad"))
    assert len(seen) == 13
    assert len(set(seen)) == 1
    assert threading.get_ident() not in seen
