"""What PyTorch raises becomes an error of ours, with the key that mends it."""

from __future__ import annotations

import ast
import pickle
from pathlib import Path

import pytest
import torch

from asvp.errors import ConfigError, DataError, DeviceMemoryError, EncoderError, WorkError
from asvp.models.failures import encoder_errors, find_device, work_errors

ROOT = Path(__file__).resolve().parents[2]


def test_memory_that_is_not_there_names_the_batch_size() -> None:
    with (
        pytest.raises(WorkError, match=r"training\.batch_size: there is not enough memory for training \(got 32\)"),
        work_errors("training", batch="training.batch_size", size=32),
    ):
        torch.empty(1 << 50)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), DeviceMemoryError),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), DeviceMemoryError),
        (RuntimeError("CUDA error: out of memory"), DeviceMemoryError),
        (RuntimeError("Error while decoding JPEG images: Failed to decode jpeg stream: 5"), DeviceMemoryError),
        (RuntimeError("nvjpegDecodeBatched failed: 5\nException raised from decode_images"), DeviceMemoryError),
        (RuntimeError("Failed to create device buffer: NVJPEG_STATUS_ALLOCATOR_FAILURE"), DeviceMemoryError),
        (RuntimeError("Error while decoding JPEG images: Failed to synchronize CUDA stream: 2"), DeviceMemoryError),
        (RuntimeError("Error while decoding JPEG images: Failed to parse jpeg stream: 3"), WorkError),
        (RuntimeError("Corrupt JPEG data: 5 extraneous bytes before marker 0xd9"), WorkError),
        (MemoryError(), WorkError),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory"), WorkError),
        (RuntimeError("CUDA error: device-side assert triggered"), WorkError),
    ],
)
def test_a_gpus_memory_is_told_from_the_machines(error: Exception, kind: type[WorkError]) -> None:
    with pytest.raises(WorkError) as caught, work_errors("training", batch="training.batch_size", size=32):
        raise error
    assert type(caught.value) is kind
    assert type(pickle.loads(pickle.dumps(caught.value))) is kind


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


def test_a_device_is_found_by_name_or_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert find_device(None) == torch.device("cuda")
    assert find_device("cpu") == torch.device("cpu")
    for name in ("meta", "nonsense", ""):
        with pytest.raises(ConfigError, match=r"^device: .*Use cpu"):
            find_device(name)


def test_one_place_alone_asks_whether_there_is_a_gpu() -> None:
    """Everything else is told where to run."""
    asking = [
        str(path.relative_to(ROOT))
        for folder in ("pipeline", "actors", "tune_spaces")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if "is_available" in (getattr(node, "attr", None), getattr(node, "id", None), getattr(node, "name", None))
    ]
    assert asking == ["pipeline/models/failures.py"]
