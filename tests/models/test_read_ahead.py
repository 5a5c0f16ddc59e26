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
from asvp.data.read_ahead import ReadAhead
from asvp.models.encoder import Encoder, reading
from asvp.models.encoder.reading import RowReader


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


def test_a_shard_is_read_batch_by_batch_to_the_same_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_MOST_ROWS", 8)
    images, _ = tiny_images(40)
    encoder = Encoder.load(EncoderConfig(model=str(tiny_image_encoder(tmp_path)), batch_size=4), "image", device="cpu")
    whole = encoder.encode(images)
    watched = Watched(images)
    prepared = encoder.prepare(watched)
    batches = iter(prepared.batches)
    for number in range(1, 4):
        batch = next(batches)
        assert batch.positions.tolist() == list(range(4 * number - 4, 4 * number))
        # Two batches are decoded, of the 8 rows read last, and 16 are read and not decoded.
        assert watched.taken <= 4 * (number + 2) + 7 + 16
    np.testing.assert_array_equal(encoder.encode_prepared(encoder.prepare(Watched(images))), whole)


class Slices(Sequence[bytes]):
    """Rows of one size that note the slices they are asked for, of which the first waits until it may come."""

    def __init__(self, rows: int, size: int) -> None:
        self._rows, self._size = rows, size
        self.asked: list[tuple[int, int]] = []
        self.go, self.third = threading.Event(), threading.Event()

    def __len__(self) -> int:
        return self._rows

    def __getitem__(self, wanted: Any) -> Any:
        start, stop, _ = wanted.indices(self._rows)
        self.asked.append((start, stop))
        if not start:
            assert self.go.wait(30)
        if len(self.asked) == 3:
            self.third.set()
        return [bytes([row]) * self._size for row in range(start, stop)]


@pytest.mark.parametrize(("size", "slices"), [(1, [(0, 4), (4, 8), (8, 24), (24, 40)]), (250, None)])
def test_rows_are_read_in_larger_slices_ahead_as_far_as_their_bytes_allow(
    monkeypatch: pytest.MonkeyPatch, size: int, slices: list[tuple[int, int]] | None
) -> None:
    monkeypatch.setattr(reading, "_MOST_ROWS", 19)
    monkeypatch.setattr(reading, "_MOST_BYTES", 1000)
    rows = Slices(40, size)
    reader = RowReader(rows, 4)
    # Two slices were settled on before it could be known how large rows are.
    rows.go.set()
    assert reader.take(4) == [bytes([row]) * size for row in range(4)]
    # The batch that was taken is in use while two slices more are asked for.
    assert rows.third.wait(30)
    assert [row[0] for _ in range(9) for row in reader.take(4)] == list(range(4, 40))
    assert rows.asked == (slices or [(start, start + 4) for start in range(0, 40, 4)])


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
