"""A worker on a GPU: several shards under way change no feature, and what is trained there is used there."""

from __future__ import annotations

import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gpus import on_a_gpu
from PIL import Image
from tiny_encoders import tiny_image_encoder, tiny_images, tiny_text_encoder, tiny_texts

from asvp.compute import Extraction, FineTuneJob
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec
from asvp.config import EncoderConfig, ExtractionConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.progress import SilentReporter

pytestmark = on_a_gpu

SHARD = 300


@pytest.fixture(autouse=True)
def four_threads() -> None:
    """With one there would be no processes that tokenise or decode."""
    torch.set_num_threads(4)


class Listed:
    """A source of rows in memory."""

    def __init__(self, kind: Any, rows: list[Any]) -> None:
        self.kind = kind
        self._rows = rows

    def __len__(self) -> int:
        return len(self._rows)

    def take(self, rows: np.ndarray) -> list[Any]:
        return [self._rows[row] for row in rows.tolist()]

    def place(self, row: int) -> str:
        return f"row {row}"

    def digest(self) -> str:
        return f"{self.kind} of a test"


def jpegs(rows: int) -> list[bytes]:
    """Of three sizes; each tenth is a PNG."""
    made = []
    for row in range(rows):
        random = np.random.default_rng(row)
        small = Image.fromarray(random.integers(0, 256, (5, 7, 3), dtype=np.uint8))
        buffer = io.BytesIO()
        small.resize((70 + 20 * (row % 3), 60)).save(buffer, "JPEG" if row % 10 else "PNG")
        made.append(buffer.getvalue())
    return made


def backend_of(encoder: EncoderSpec) -> InProcessBackend:
    backend = InProcessBackend(encoder, None, SilentReporter())
    backend.resolve()
    return backend


def extraction(source: Any) -> Extraction:
    return Extraction(source, "test", 0, ExtractionConfig(shard_rows=SHARD, cache=None, feature_dtype="float32"))


@pytest.mark.parametrize("kind", ["text", "image"])
@pytest.mark.parametrize("dtype", ["auto", "float32"])
def test_features_are_those_of_one_shard_after_the_other(tmp_path: Path, kind: Any, dtype: Any) -> None:
    folder = tiny_text_encoder(tmp_path) if kind == "text" else tiny_image_encoder(tmp_path)
    config = EncoderConfig(model=str(folder), dtype=dtype)
    # Enough texts for the processes that tokenise; those before them are tokenised here.
    rows: list[Any] = tiny_texts(20 * SHARD)[0] if kind == "text" else jpegs(4 * SHARD)
    work = extraction(Listed(kind, rows))
    found = backend_of(EncoderSpec(config, kind)).extract(work).span(0, len(rows))
    encoder = Encoder.load(config, kind, device="cuda")
    alone = [encoder.encode(rows[start:stop]) for start, stop in pairwise(work.starts)]
    np.testing.assert_array_equal(found, np.concatenate(alone))
    on_cpu = Encoder.load(config.model_copy(update={"dtype": "float32", "decode": "pil"}), kind, device="cpu")
    expected = on_cpu.encode(rows[:SHARD])
    lengths = np.linalg.norm(expected, axis=1) * np.linalg.norm(found[:SHARD], axis=1)
    least = 0.9999 if dtype == "float32" and kind == "text" else 0.99
    assert ((expected * found[:SHARD]).sum(1) / lengths).min() > least


@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_training_gives_the_same_model_again_and_its_features(tmp_path: Path, kind: Any) -> None:
    """Images are augmented, which is done on the GPU."""
    if kind == "text":
        folder, (rows, labels) = tiny_text_encoder(tmp_path), tiny_texts(90)
    else:
        folder, (rows, labels) = tiny_image_encoder(tmp_path), tiny_images(90)  # type: ignore[assignment]
    source: Any = Listed(kind, list(rows))
    training = TrainingConfig(epochs=6, batch_size=16, lr=1e-3, head_lr=1e-2)
    job = FineTuneJob("lp_ft", source, np.arange(90), np.array(labels), 3, training, 0, "encoder")
    features = []
    for _ in range(2):
        backend = backend_of(EncoderSpec(EncoderConfig(model=str(folder)), kind))
        model = backend.train(job)
        found = backend.extract(extraction(source), model.weights).span(0, 90)
        scores = found @ model.head.weight.T + model.head.bias
        assert (scores.argmax(1) == np.array(labels)).mean() > 0.8
        features.append(found)
    np.testing.assert_array_equal(*features)
