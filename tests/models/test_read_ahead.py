"""Images are read and decoded a few batches ahead of the encoder, never a whole shard."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import tiny_image_encoder, tiny_images

from asvp.config import EncoderConfig
from asvp.models.encoder import Encoder
from asvp.models.encoder.inputs import ReadAhead


class Watched(Sequence[Any]):
    """A sequence that counts how many of its rows were taken."""

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows
        self.taken = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, wanted: Any) -> Any:
        self.taken += len(self.rows[wanted])
        return self.rows[wanted]


def test_a_shard_is_read_batch_by_batch_to_the_same_features(tmp_path: Path) -> None:
    images, _ = tiny_images(40)
    encoder = Encoder.load(EncoderConfig(model=str(tiny_image_encoder(tmp_path)), batch_size=4), "image", device="cpu")
    whole = encoder.encode(images)
    watched = Watched(images)
    prepared = encoder.prepare(watched)
    batches = iter(prepared.batches)
    for number in range(1, 4):
        batch = next(batches)
        assert batch.positions.tolist() == list(range(4 * number - 4, 4 * number))
        assert watched.taken <= 4 * (number + 2)
    np.testing.assert_array_equal(encoder.encode_prepared(encoder.prepare(Watched(images))), whole)


def test_work_is_at_most_so_far_ahead_and_in_order() -> None:
    begun: list[int] = []
    third = threading.Event()

    def work(job: int) -> int:
        begun.append(job)
        if len(begun) == 3:
            third.set()
        return job * job

    ahead = ReadAhead(work, range(10), 3)
    assert third.wait(30)
    assert next(ahead) == 0
    assert len(begun) <= 4
    assert list(ahead) == [number * number for number in range(1, 10)]
    assert begun == list(range(10))


def test_an_error_comes_where_its_result_would_have() -> None:
    ahead = ReadAhead(lambda job: 10 // job, [5, 0, 2], 2)
    assert next(ahead) == 2
    with pytest.raises(ZeroDivisionError):
        next(ahead)
