"""Workers that train a model together: the model of one, whoever dies or fails."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray import cloudpickle
from tiny_encoders import tiny_text_encoder
from tiny_runs import tiny_config, wait_until

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import worker_pool
from asvp.actors.worker import _Worker
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec, FineTuneJob, TrainedModel
from asvp.compute.placement import Placement
from asvp.config import Config
from asvp.data import open_dataset
from asvp.driver.loop import run
from asvp.errors import ClusterError, ConfigError, DataError, DeviceMemoryError
from asvp.features.cache import Cache
from asvp.progress import SilentReporter

# The tests are no package that a worker could import.
cloudpickle.register_pickle_by_value(sys.modules[__name__])

ROWS = np.arange(37)
TOLERANCE = 2e-5
"""Of weights after steps of 1e-3, as docs/encoders.md says."""


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Without dropout, which draws other numbers for each piece of a batch."""
    folder = tmp_path_factory.mktemp("tiny")
    made = tiny_config(folder)
    model = tiny_text_encoder(folder / "no dropout", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return made.model_copy(update={"encoder": made.encoder.model_copy(update={"model": str(model)})})


def job(config: Config, devices: int, method: str = "ft") -> FineTuneJob:
    dataset = open_dataset(config.data)
    changes = {"batch_size": 8, "epochs": 3, "lr": 1e-3, "head_lr": 1e-2, "devices": devices}
    training = config.training.model_copy(update=changes)
    classes = len(dataset.classes)
    return FineTuneJob(method, dataset.pool, ROWS, ROWS % classes, classes, training, 0, "x")  # type: ignore[arg-type]


def alone(config: Config, method: str = "ft") -> TrainedModel:
    backend = InProcessBackend(EncoderSpec(config.encoder, "text"), None, SilentReporter())
    return backend.train(job(config, 1, method))


@contextmanager
def backend_of(config: Config, worker: Any = None, cache: Cache | None = None) -> Iterator[PoolBackend]:
    with worker_pool(Placement(2, 1.0, 0.0), worker=worker or ray.remote(_Worker)) as pool:
        backend = PoolBackend(pool, EncoderSpec(config.encoder, "text"), cache, SilentReporter())
        yield backend
        backend.close()


def assert_close(model: TrainedModel, expected: TrainedModel) -> None:
    np.testing.assert_allclose(model.head.weight, expected.head.weight, rtol=0, atol=TOLERANCE)
    assert model.weights is not None
    assert expected.weights is not None
    found = model.weights.load()
    for name, array in expected.weights.load().items():
        np.testing.assert_allclose(found[name], array, rtol=0, atol=TOLERANCE, err_msg=name)


def test_two_workers_train_the_model_that_one_trains_and_cost_what_both_did(
    ray_local: Any, config: Config, tmp_path: Path
) -> None:
    cache = Cache(str(tmp_path))
    with backend_of(config, cache=cache) as backend:
        for method in ("ft", "lp_ft"):
            model = backend.train(job(config, 2, method))
            assert_close(model, alone(config, method))
            assert not model.reused
            assert model.spent.cpu_seconds == model.spent.seconds > 0
        again = backend.train(job(config, 2, "lp_ft"))
        assert again.reused
        np.testing.assert_array_equal(again.head.weight, model.head.weight)
        assert again.spent == model.spent
        assert not backend.train(job(config, 1, "lp_ft")).reused, "its last bits are others"


def test_keys_of_one_device_are_those_of_before_there_were_more(config: Config) -> None:
    assert job(config, 1).key != job(config, 2).key
    dumped = job(config, 1).training.model_dump(exclude={"method", "evaluate_at", "keep", "devices", "checkpointing"})
    assert "batch_size" in dumped
    from asvp.features.cache import content_key

    one = job(config, 1)
    labels = one.labels.tolist()
    parts = (one.encoder, one.source.digest(), one.rows.tolist(), labels, one.classes, one.method, dumped, one.seed)
    assert one.key == content_key("fine-tune", *parts)


class _MortalWorker(_Worker):
    """Dies, or fails, in its part of a training, the first time any does."""

    def __init__(self, share: Any, cores: float) -> None:
        super().__init__(share, cores)
        self._fails: Any = None

    def prepare(self, mark: str, fails: Any) -> None:
        self._mark, self._fails = Path(mark), fails

    def train_beside(self, order: Any, share: Any, seat: Any) -> None:
        if self._fails is not None:
            self._fail_in_the_third_step()
        super().train_beside(order, share, seat)

    def _fail_in_the_third_step(self) -> None:
        from asvp.models.encoder import Encoder

        features, passes = Encoder.features, []

        def failing(encoder: Any, tensors: Any) -> Any:
            passes.append(len(tensors["input_ids"]))
            if len(passes) == 3 and not self._mark.exists():
                self._mark.touch()
                self._fails()
            return features(encoder, tensors)

        Encoder.features = failing  # type: ignore[method-assign]


def with_failure(backend: PoolBackend, mark: Path, fails: Any) -> None:
    """Have whoever trains beside another fail once."""
    wait_until(lambda: backend._desk.state().started == 2)
    with backend._desk.several(2) as grants:
        ray.get([grant.worker.prepare.remote(str(mark), fails) for grant in grants])


def test_where_one_is_killed_in_the_middle_the_model_is_the_same(
    ray_local: Any, config: Config, tmp_path: Path
) -> None:
    mark = tmp_path / "killed"
    with backend_of(config, ray.remote(_MortalWorker)) as backend:
        with_failure(backend, mark, lambda: os._exit(1))
        model = backend.train(job(config, 2))
        assert mark.exists()
        assert_close(model, alone(config))


def test_where_one_has_too_little_memory_all_begin_again_with_less(
    ray_local: Any, config: Config, tmp_path: Path
) -> None:
    mark = tmp_path / "full"

    def fails() -> None:
        raise DeviceMemoryError("there is not enough memory")

    with backend_of(config, ray.remote(_MortalWorker)) as backend:
        with_failure(backend, mark, fails)
        model = backend.train(job(config, 2))
        assert mark.exists()
        assert_close(model, alone(config))


def test_what_is_wrong_with_one_is_said(ray_local: Any, config: Config, tmp_path: Path) -> None:
    def fails() -> None:
        raise DataError("the disk of this one has another file", key="data.pool")

    with backend_of(config, ray.remote(_MortalWorker)) as backend:
        with_failure(backend, tmp_path / "failed", fails)
        with pytest.raises(DataError, match=r"data\.pool: the disk of this one"):
            backend.train(job(config, 2))
        assert_close(backend.train(job(config, 2)), alone(config))


def test_more_than_a_node_has_are_refused_before_work(ray_local: Any, config: Config, tmp_path: Path) -> None:
    three = config.model_copy(update={"training": config.training.model_copy(update={"devices": 3})})
    with backend_of(config) as backend:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(backend, "resolve", lambda: pytest.fail("a worker was asked for something"))
            with pytest.raises(ClusterError, match=r"training\.devices: no node has so many.*\(got 3\)"):
                run(three, backend=backend, out=tmp_path / "run")
        with pytest.raises(ClusterError, match=r"training\.devices: no node has so many.*\(got 3\)"):
            backend.train(job(config, 3))
        automatic = config.training.model_copy(update={"devices": "auto"})
        assert backend.team_size(automatic) == 1, "cores are lent as threads"
        assert backend.team_size(three.training.model_copy(update={"devices": 2})) == 2
    with pytest.raises(ConfigError, match=r"training\.devices: one process.*\(got 3\)"):
        run(three, in_process=True, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
