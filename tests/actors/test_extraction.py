"""Extraction by a pool: one result whatever the workers, in the object store, and nothing lost with them."""

from __future__ import annotations

import io
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from numpy.testing import assert_array_equal
from PIL import Image
from ray_pools import backend_of, whole
from recording import Told
from safetensors.numpy import load_file, save_file
from tiny_encoders import tiny_image_encoder
from tiny_runs import wait_until, wide_config

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import worker_pool
from asvp.compute import Extraction
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import EncoderSpec
from asvp.compute.placement import Placement
from asvp.config import Config, EncoderConfig
from asvp.data import Dataset, open_dataset
from asvp.errors import DataError, WorkError
from asvp.features import FeatureSet, features_of
from asvp.features.cache import Cache, CacheEntry
from asvp.models.encoder import Encoder
from asvp.models.encoder.decoding import trouble
from asvp.progress import SilentReporter
from asvp.spent import NOTHING


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return wide_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return open_dataset(config.data)


def in_process(config: Config, cache: Cache | None = None) -> InProcessBackend:
    return InProcessBackend(EncoderSpec(config.encoder, "text"), cache, SilentReporter())


def extraction(config: Config, dataset: Dataset) -> Extraction:
    return Extraction(dataset.pool, "encoder", 0, config.extraction, title="pool")


def worker_processes() -> list[psutil.Process]:
    """Processes of this session's Worker actors."""
    children = psutil.Process().children(recursive=True)
    return [child for child in children if _command(child).startswith("ray::_Worker")]


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""


@pytest.fixture(scope="module")
def expected(config: Config, dataset: Dataset) -> FeatureSet:
    """Features made without Ray."""
    return in_process(config).extract(extraction(config, dataset))


@pytest.fixture(scope="module")
def made_by_two(ray_local: Any, config: Config, dataset: Dataset) -> FeatureSet:
    """Features made by two workers that are dead."""
    with backend_of(config, 2) as backend:
        features = backend.extract(extraction(config, dataset))
        processes = worker_processes()
        assert processes
        for process in processes:
            process.send_signal(signal.SIGKILL)
        # An object whose owner has died stays readable until Ray has heard of the death.
        numbers = {process.pid for process in processes}
        wait_until(
            lambda: (
                {one["State"] for one in ray_local._private.state.actors().values() if one["Pid"] in numbers}
                == {"DEAD"}
            ),
            60,
        )
    return features


def test_every_shard_survives_the_death_of_the_workers_and_is_in_row_order(
    made_by_two: FeatureSet, config: Config, dataset: Dataset
) -> None:
    rows = np.arange(len(dataset.pool))
    encoded = Encoder.load(config.encoder, "text").encode(dataset.pool.take(rows))
    np.testing.assert_allclose(whole(made_by_two), encoded, atol=1e-5)


def test_features_are_the_same_with_one_worker_two_workers_and_none(
    made_by_two: FeatureSet, expected: FeatureSet, config: Config, dataset: Dataset
) -> None:
    with backend_of(config, 1) as backend:
        one = backend.extract(extraction(config, dataset))
        assert_array_equal(whole(one), whole(expected))
    # They stay when the pool and its processes are gone.
    wait_until(lambda: not worker_processes())
    assert_array_equal(whole(one), whole(expected))
    assert_array_equal(whole(made_by_two), whole(expected))
    assert one.fingerprint == made_by_two.fingerprint == expected.fingerprint
    assert_array_equal(one.moments.mean, made_by_two.moments.mean)


def test_eight_workers_and_the_cache_give_the_features_of_none(
    ray_local: Any, expected: FeatureSet, config: Config, dataset: Dataset, tmp_path: Path
) -> None:
    pictures, model = painted(60), str(tiny_image_encoder(tmp_path / "encoder"))
    ways: list[Any] = ["pil", *([] if trouble("torchvision", "cpu") else ["torchvision"])]
    specs = {way: EncoderSpec(EncoderConfig(model=model, decode=way, batch_size=4), "image") for way in ways}
    alone = {}
    for way, spec in specs.items():
        work = Extraction(pictures, way, 0, config.extraction.model_copy(update={"shard_rows": 7}))
        alone[way] = work, whole(InProcessBackend(spec, None, SilentReporter()).extract(work))
    cache = Cache(str(tmp_path / "cache"))
    with worker_pool(Placement(8, 0.5, 0.0)) as pool:
        for spec, work, features in (
            (EncoderSpec(config.encoder, "text"), extraction(config, dataset), whole(expected)),
            *((specs[way], *alone[way]) for way in ways),
        ):
            backend = PoolBackend(pool, spec, cache, SilentReporter())
            made, read = backend.extract(work), backend.extract(work)
            backend.close()
            assert_array_equal(whole(made), features)
            assert_array_equal(whole(read), features)
            assert (made.saved, read.saved) == (NOTHING, made.spent)


def painted(count: int) -> Any:
    """A source of JPEGs and PNGs of a few sizes."""
    contents = []
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        image = Image.fromarray(noise).resize((40 + number % 3, 50), Image.Resampling.BICUBIC)
        image.save(buffer, "PNG" if number % 4 == 0 else "JPEG")
        contents.append(buffer.getvalue())

    class Painted:
        kind = "image"

        def __len__(self) -> int:
            return count

        def take(self, rows: np.ndarray) -> list[bytes]:
            return [contents[row] for row in rows]

        def digest(self) -> str:
            return "painted"

    return Painted()


def test_features_read_in_another_process_are_views_on_the_store(ray_local: Any, made_by_two: FeatureSet) -> None:
    @ray_local.remote(num_cpus=0.5)
    def look(shared: FeatureSet) -> list[tuple[bool, bool, bool]]:
        maps = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
        ranges = [
            tuple(int(end, 16) for end in line[0].split("-")) for line in maps if len(line) > 5 and "plasma" in line[5]
        ]
        found = []
        for _, block in shared.blocks():
            address = block.__array_interface__["data"][0]
            inside = any(low <= address < high for low, high in ranges)
            found.append((block.flags.owndata, block.flags.writeable, inside))
        return found

    found = ray_local.get(look.remote(made_by_two))
    assert len(found) == len(made_by_two.shards) > 1
    assert set(found) == {(False, False, True)}


def test_a_worker_killed_in_mid_shard_is_replaced_and_its_shard_redone(
    ray_local: Any, config: Config, dataset: Dataset, expected: FeatureSet
) -> None:
    killed: list[int] = []

    class KillFirst(SilentReporter):
        """Kills a worker when the first shard is done, while others are under way."""

        def task(self, title: str, total: int, unit: str) -> Any:
            outer = super().task(title, total, unit)

            class Killing:
                def __enter__(self) -> Any:
                    self.inner = outer.__enter__()
                    return self

                def __exit__(self, *error: Any) -> None:
                    outer.__exit__(*error)

                def advance(self, amount: int) -> None:
                    if not killed:
                        process = worker_processes()[0]
                        killed.append(process.pid)
                        os.kill(process.pid, signal.SIGKILL)

            return Killing()

    with backend_of(config, 2, reporter=KillFirst()) as backend:
        features = backend.extract(extraction(config, dataset))
    assert killed
    assert_array_equal(whole(features), whole(expected))


def test_features_come_from_the_cache_without_any_encoder(
    ray_local: Any, config: Config, dataset: Dataset, tmp_path: Path
) -> None:
    cache = Cache(str(tmp_path / "cache"))
    made = in_process(config, cache).extract(extraction(config, dataset))
    gone = config.model_copy(update={"encoder": config.encoder.model_copy(update={"model": str(tmp_path / "gone")})})
    with backend_of(gone, 2, cache) as backend:
        read = backend.extract(extraction(config, dataset))
    assert_array_equal(whole(read), whole(made))
    assert read.spent == made.spent == read.saved
    assert made.saved == NOTHING
    assert made.spent.seconds > 0


def test_a_damaged_shard_in_the_cache_is_told_of_and_made_again(
    ray_local: Any, config: Config, dataset: Dataset, tmp_path: Path
) -> None:
    cache = Cache(str(tmp_path / "cache"))
    expected = whole(in_process(config, cache).extract(extraction(config, dataset))).copy()
    victim = sorted(Path(cache.root).glob("features/*/*.arrow"))[1]
    shortened = victim.read_bytes()[:-10]
    victim.unlink()
    victim.write_bytes(shortened)
    told = Told()
    with backend_of(config, 2, cache, told) as backend:
        assert_array_equal(whole(backend.extract(extraction(config, dataset))), expected)
    assert any("truncated or altered" in line for line in told.lines)
    assert victim.exists()


def test_lost_shards_are_read_from_the_cache_without_listing_it(
    ray_local: Any, config: Config, dataset: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = Cache(str(tmp_path / "cache"))
    listings: list[str] = []
    list_parts = CacheEntry.parts

    def counting(entry: CacheEntry) -> dict[str, str]:
        listings.append(entry.key)
        return list_parts(entry)

    monkeypatch.setattr(CacheEntry, "parts", counting)
    with backend_of(config, 2, cache) as backend:
        made = backend.extract(extraction(config, dataset))
        read = backend.extract(extraction(config, dataset))
        assert len(listings) == 2, "once an extraction"
        for features in (made, read):
            again = [features_of(shard._from_cache()) for shard in features.shards]  # type: ignore[attr-defined]
            assert_array_equal(np.concatenate(again), whole(features))
    assert len(listings) == 2


def test_an_error_in_a_worker_arrives_as_it_was_raised(ray_local: Any, config: Config, tmp_path: Path) -> None:
    changed = config.model_copy(
        update={"extraction": config.extraction.model_copy(update={"feature_dtype": "float16"})}
    )
    weights = Path(config.encoder.model) / "model.safetensors"
    arrays = {
        name: array * np.float32(1e6) if "LayerNorm" in name else array for name, array in load_file(weights).items()
    }
    copy = tmp_path / "encoder"
    copy.mkdir(exist_ok=True)
    for path in Path(config.encoder.model).iterdir():
        if path.name != "model.safetensors":
            (copy / path.name).write_bytes(path.read_bytes())
    save_file(arrays, copy / "model.safetensors", metadata={"format": "pt"})
    changed = changed.model_copy(update={"encoder": config.encoder.model_copy(update={"model": str(copy)})})
    with backend_of(changed) as backend, pytest.raises(DataError, match="not finite as float16"):
        backend.extract(extraction(changed, open_dataset(config.data)))


def test_a_shard_that_kills_every_worker_ends_with_an_error_that_names_its_rows(
    ray_local: Any, config: Config, dataset: Dataset
) -> None:
    class Deadly:
        """A source whose rows end the process that reads them."""

        kind = "text"

        def __len__(self) -> int:
            return 10

        def take(self, rows: np.ndarray) -> list[str]:
            os._exit(1)

        def digest(self) -> str:
            return "deadly"

    deadly: Any = Deadly()
    with backend_of(config) as backend, pytest.raises(WorkError, match="died 3 times on rows 0 to 9"):
        backend.extract(Extraction(deadly, "encoder", 0, config.extraction))


def dawdling(base: Any, row: int, made: Path) -> Any:
    """A source one row of which is read once for ever, by the first that asks for it; then it is as the others.

    `made` is there once somebody reads it.
    """

    class Dawdling:
        kind = "text"

        def __len__(self) -> int:
            return len(base)

        def take(self, rows: np.ndarray) -> Any:
            if row in rows:
                try:
                    made.touch(exist_ok=False)
                    time.sleep(3600)
                except FileExistsError:
                    pass
            return base.take(rows)

        def digest(self) -> str:
            return "dawdling"

    return Dawdling()


def test_a_shard_that_is_late_is_done_by_another_worker(
    ray_local: Any, config: Config, dataset: Dataset, expected: FeatureSet, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("asvp.actors.extraction._LATE_SECONDS", 0.1)
    source = dawdling(dataset.pool, len(dataset.pool) - 1, tmp_path / "read")
    with backend_of(config, 2) as backend:
        features = backend.extract(Extraction(source, "encoder", 0, config.extraction))
        assert_array_equal(whole(features), whole(expected))
        # Whoever is late is not lent before it has done what it has; the other one is.
        again = backend.extract(extraction(config, dataset))
        assert_array_equal(whole(again), whole(expected))
    assert (tmp_path / "read").exists()


def test_a_worker_that_does_not_answer_is_told_of_and_replaced(
    ray_local: Any, config: Config, dataset: Dataset, expected: FeatureSet, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("asvp.actors.desk.SAY_AFTER_SECONDS", 0.2)
    stopped: list[int] = []

    class Listening(SilentReporter):
        def __init__(self) -> None:
            self.said: list[str] = []

        def say(self, text: str, **ids: Any) -> None:
            self.said.append(text)

    source = dawdling(dataset.pool, 0, tmp_path / "read")
    reporter = Listening()

    def stop() -> None:
        wait_until(lambda: (tmp_path / "read").exists(), 60)
        stopped.append(worker_processes()[0].pid)
        os.kill(stopped[0], signal.SIGSTOP)

    with backend_of(config, 1, reporter=reporter, silence=3.0) as backend, ThreadPoolExecutor(1) as threads:
        stopping = threads.submit(stop)
        features = backend.extract(Extraction(source, "encoder", 0, config.extraction))
        stopping.result()
    assert_array_equal(whole(features), whole(expected))
    assert any("1 of 1 workers (one on node" in text for text in reporter.said)
    wait_until(lambda: not psutil.pid_exists(stopped[0]))
