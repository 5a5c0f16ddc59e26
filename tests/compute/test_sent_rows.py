"""What a training carries: the rows it reads, whatever the size of the pool, under the key and names they had there."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tiny_encoders import tiny_image_encoder, tiny_images
from tiny_runs import tiny_config

from asvp.actors import backend as backends
from asvp.actors.desk import Turn
from asvp.compute.jobs import EncoderSpec, FineTuneJob, Trained
from asvp.compute.session import EncoderSession
from asvp.config import DataConfig, EncoderConfig, TrainingConfig
from asvp.data import open_dataset
from asvp.data.digests import Digests
from asvp.data.guarded import GuardedSource
from asvp.data.images import ImageFolder
from asvp.data.source import SentRows, Source, View, excerpt
from asvp.data.storage import Storage, StoredFile
from asvp.errors import DataError, RowError
from asvp.models.head import Head
from asvp.progress import SilentReporter
from asvp.spent import NOTHING, Span

LABELLED = 200
SMALL, LARGE = 1_000, 1_000_000


def table(folder: Path, rows: int) -> Source:
    """A pool of which a part is held out for the test rows."""
    columns = {"text": pa.array(["t"] * rows), "label": pa.array(["a", "b"] * (rows // 2))}
    pq.write_table(pa.table(columns), folder / f"{rows}.parquet", row_group_size=100_000)
    return open_dataset(DataConfig(pool=str(folder / f"{rows}.parquet"), test=None)).pool


def image_folder(folder: Path, rows: int) -> Source:
    """The list of so many files, of which the first is there."""
    encoded = io.BytesIO()
    Image.new("RGB", (2, 2)).save(encoded, "PNG")
    (folder / f"{0:07d}.png").write_bytes(encoded.getvalue())
    files = [StoredFile(f"{number:07d}.png", 70, 1) for number in range(rows)]
    source = ImageFolder(
        Storage(str(folder), str(folder)), files, 1 << 20, key="data.pool", value="", digests=Digests()
    )
    source._digest = "0a"
    return View(source, np.arange(0, rows, 2), labelled=False)


class Listed:
    """Another package's source, which keeps something of each row."""

    kind = "text"

    def __init__(self, keys: list[str]) -> None:
        self.keys = keys

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, rows: np.ndarray) -> list[str]:
        broken = [place for place, row in enumerate(rows.tolist()) if self.keys[row] == "key 7"]
        if broken:
            raise RowError("it is gone", row=int(rows[broken[0]]))
        return [self.keys[row] for row in rows.tolist()]

    def ids(self) -> pa.Array:
        return pa.array(self.keys)

    def labels(self) -> pa.Array:
        return pa.array(["x"] * len(self))

    def digest(self) -> str:
        return "0b"


class Excerpting(Listed):
    def excerpt(self, rows: np.ndarray) -> Excerpting:
        return Excerpting([self.keys[row] for row in rows.tolist()])


def guarded(source: Any) -> Source:
    return View(GuardedSource(source, DataConfig(pool="x:y"), key="data.pool", value="x:y"), labelled=False)


def foreign(folder: Path, rows: int) -> Source:
    return guarded(Excerpting([f"key {row}" for row in range(rows)]))


def job(pool: Source, method: Any = "ft", labelled: int = LABELLED, **training: Any) -> FineTuneJob:
    rows = np.sort(np.random.default_rng(0).choice(len(pool), labelled, replace=False))
    return FineTuneJob(method, pool, rows, np.arange(labelled) % 2, 2, TrainingConfig(**training), 0, "encoder")


@pytest.mark.parametrize("make", [table, image_folder, foreign])
def test_what_a_training_carries_does_not_grow_with_the_pool(
    tmp_path: Path, make: Callable[[Path, int], Source]
) -> None:
    pools = [make(tmp_path, rows) for rows in (SMALL, LARGE)]
    for pool in pools:
        assert job(pool).sent().key == job(pool).key, "models in caches are found again"
    small, large = (len(pickle.dumps(job(pool).sent())) for pool in pools)
    # Its numbers are written in more bytes, and a table has more row groups.
    assert abs(large - small) < 4_000
    assert large < 50_000 < len(pickle.dumps(job(pools[1])))
    small, large = (len(pickle.dumps(excerpt(pool, job(pool).rows))) for pool in pools)
    assert abs(large - small) < 4_000


def test_workers_are_sent_no_more_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pool, orders = image_folder(tmp_path, 100_000), []

    class Desk:
        def __init__(self, *told: Any) -> None: ...

        def with_worker(self, call: Any, *told: Any, **rest: Any) -> Any:
            def remote(order: Any, *given: Any) -> tuple[None, None]:
                orders.append(order)
                return None, None

            worker = SimpleNamespace(train=SimpleNamespace(options=lambda **told: SimpleNamespace(remote=remote)))
            call(SimpleNamespace(worker=worker, share=None, beside=()))
            head = Head(np.zeros((2, 3), np.float32), np.zeros(2, np.float32))
            return (None, None), Trained(head, NOTHING), Turn(0.0, (Span((), "", 0.0, 1.0),))

        def once(self, *told: Any, **rest: Any) -> Any:
            return nullcontext()

    monkeypatch.setattr(backends, "Desk", Desk)
    encoder = EncoderSpec(EncoderConfig(), "image")
    backend = backends.PoolBackend(SimpleNamespace(broker=None), encoder, None, SilentReporter())  # type: ignore[arg-type]
    asked = job(pool)
    model = backend.train(asked)
    assert model.key == asked.key == orders[0].job.key
    assert len(pickle.dumps(orders[0])) < 50_000 < len(pickle.dumps(asked))


@pytest.mark.parametrize("method", ["ft", "lp_ft"])
@pytest.mark.parametrize("kind", ["text", "image"])
def test_a_model_is_the_same_trained_on_what_was_sent(tmp_path: Path, method: str, kind: str) -> None:
    if kind == "text":
        config = tiny_config(tmp_path)
    else:
        images, labels = tiny_images(60, seed=3)
        for row, (content, label) in enumerate(zip(images, labels, strict=True)):
            path = tmp_path / "photos" / f"class-{label}" / f"{row:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        config = tiny_config(
            tmp_path,
            data={"pool": str(tmp_path / "photos"), "test": None},
            encoder={"model": str(tiny_image_encoder(tmp_path / "images")), "dtype": "float32", "batch_size": 8},
        )
    whole = job(open_dataset(config.data).pool, method, 24, epochs=1, batch_size=8)
    sent = pickle.loads(pickle.dumps(whole.sent()))
    assert sent.key == whole.key
    assert sent.sent() is sent
    (head, weights), (other_head, other_weights) = (
        EncoderSession(config.encoder, kind).train(one)  # type: ignore[arg-type]
        for one in (whole, sent)
    )
    np.testing.assert_array_equal(head.weight, other_head.weight)
    assert weights is not None
    assert other_weights is not None
    for name, array in weights.items():
        np.testing.assert_array_equal(array, other_weights[name])


def test_rows_are_read_by_their_numbers_and_no_others(tmp_path: Path) -> None:
    pool = guarded(Listed([f"key {row}" for row in range(50)]))
    rows = np.array([3, 20, 41])
    sent = pickle.loads(pickle.dumps(SentRows(pool, rows)))
    assert sent.take(np.array([41, 3, 41])) == ["key 41", "key 3", "key 41"]
    assert sent.digest() == pool.digest()
    assert sent.kind == "text"
    for absent in (4, 49, 50):
        with pytest.raises(IndexError, match=f"row {absent} was not sent; 3 rows were"):
            sent.take(np.array([3, absent]))


@pytest.mark.parametrize("source", [Listed, Excerpting])
@pytest.mark.parametrize("limited", [True, False])
def test_an_excerpt_has_the_digest_names_and_messages_of_a_choice_of_rows(source: Any, limited: bool) -> None:
    base = guarded(source([f"key {row}" for row in range(50)]))
    pool = View(base.base, np.arange(1, 50, 2), labelled=False) if limited else base  # type: ignore[attr-defined]
    rows = np.array([0, 3, 7, 12])
    found, choice = excerpt(pool, rows), View(pool, rows, labelled=False)
    assert found.digest() == choice.digest(), "features in caches are found again"
    assert found.ids() == choice.ids()
    assert found.labels() is None
    assert len(found) == len(choice) == 4
    bad = 1 if limited else 2
    with pytest.raises(DataError, match=rf"^row {rows[bad]} of the pool: it is gone"):
        found.take(np.arange(4))
    good = [place for place in range(4) if place != bad]
    assert found.take(np.array(good)) == choice.take(np.array(good))
    # Once more, as of what was cut already.
    again = found.excerpt(np.array(good))
    assert again.digest() == View(choice, np.array(good)).digest()
    error = again.named(RowError("it is odd", row=2), 2)
    assert f"row {rows[good[2]]} of the pool, id '{pool.ids()[int(rows[good[2]])].as_py()}': it is odd" in str(error)
