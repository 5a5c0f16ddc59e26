"""What PyTorch raises becomes an error of ours, with the key that mends it."""

from __future__ import annotations

import pickle

import pytest
import torch

from asvp.errors import DataError, EncoderError, WorkError
from asvp.models.failures import encoder_errors, find_device, work_errors


def test_memory_that_is_not_there_names_the_batch_size() -> None:
    with (
        pytest.raises(WorkError, match=r"training\.batch_size: there is not enough memory for training \(got 32\)"),
        work_errors("training", batch="training.batch_size", size=32),
    ):
        torch.empty(1 << 50)


def test_other_failures_at_work_keep_what_was_said() -> None:
    with (
        pytest.raises(WorkError, match=r"encoder\.model: encoding failed in the model: .*shapes") as caught,
        work_errors("encoding", batch="encoder.batch_size", size=1),
    ):
        torch.ones(2, 3) @ torch.ones(2, 3)
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_errors_of_ours_pass() -> None:
    error = DataError("is no text", key="row 3")
    for boundary in (
        work_errors("encoding", batch="encoder.batch_size", size=1),
        encoder_errors("cannot be loaded", key="encoder.model", value="x"),
    ):
        with pytest.raises(DataError) as caught, boundary:
            raise error
        assert caught.value is error


def test_whatever_loading_raises_is_an_encoder_error() -> None:
    for problem in (KeyError("a"), AttributeError(""), Exception("Rust\nsecond line"), RecursionError("deep")):
        with (
            pytest.raises(EncoderError, match=r"encoder\.model: cannot be loaded: \S+ ?\w* \(got 'x'\)"),
            encoder_errors("cannot be loaded", key="encoder.model", value="x"),
        ):
            raise problem


def test_the_processor_is_always_there() -> None:
    assert find_device("cpu") == torch.device("cpu")
    assert find_device(None).type == ("cuda" if torch.cuda.is_available() else "cpu")
