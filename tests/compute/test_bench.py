"""A bench gives for each kind of job what the function behind it gives, and tells what it cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recording import Told
from tiny_runs import tiny_config

from asvp.alignment import logme, logme_ped
from asvp.alignment.verification import judge
from asvp.compute import Extraction, FineTuneJob, Held, HeldWeights
from asvp.compute.bench import Bench
from asvp.compute.evaluation import evaluate
from asvp.compute.in_process import InProcessBackend
from asvp.compute.jobs import (
    EncoderSpec,
    EvaluateJob,
    ExtractionOrder,
    IndicatorJob,
    PackJob,
    PickJob,
    ProxyJob,
    ShardJob,
    TrainingOrder,
    VerifyJob,
)
from asvp.compute.packed import unpack
from asvp.compute.picking import LocalPicker, choice_of
from asvp.compute.selection_inputs import selection_inputs
from asvp.compute.session import EncoderSession
from asvp.config import Config, ProxyConfig
from asvp.data import Dataset, open_dataset
from asvp.features import FeatureSet, HeldShard, Moments, feature_table, features_of
from asvp.features.cache import Cache
from asvp.features.side_by_side import SideBySide
from asvp.models.classifier import Classifier, load_head
from asvp.models.encoder import Encoder
from asvp.models.proxy import Proxy, fit_proxy
from asvp.progress import SilentReporter
from asvp.selection import check_strategy, make_pool, run_plan
from asvp.spent import NOTHING, Share, Spent

ROWS, DIM, CLASSES = 400, 6, 3
NAMES = ("a", "b", "c")
LABELLED, LABELS = np.arange(5, 65, dtype=np.int64), np.arange(60, dtype=np.int64) % CLASSES
CONFIG = ProxyConfig(epochs=3)
SHARE = Share(2.0, 0.25)


def made(rows: int, seed: int, *, version: int = 0) -> FeatureSet:
    """Features of rows whose class shows in one of them, cut into two shards."""
    features = np.random.default_rng(seed).normal(size=(rows, DIM)).astype(np.float32)
    features[np.arange(rows), (np.arange(rows) - 5) % CLASSES] += 1.5
    cut = rows // 2
    shards = tuple(HeldShard(feature_table(features[a:b], a, "float32")) for a, b in ((0, cut), (cut, rows)))
    return FeatureSet(version, shards, (0, cut, rows), DIM, "float32", f"made {seed}", Moments.of(features))


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture(scope="module")
def pool() -> FeatureSet:
    return made(ROWS, 0)


def proxy_of(pool: FeatureSet, seed: int = 7) -> Proxy:
    """As `fit_proxy` makes it of the labelled rows."""
    return fit_proxy(
        pool.gather(LABELLED), LABELS, classes=CLASSES, config=CONFIG, seed=seed, mean=pool.mean, std=pool.std
    )


def assert_cost(spent: Spent, share: Share = SHARE) -> None:
    assert spent == share.spent(spent.seconds)
    assert spent.seconds > 0


class TestJobs:
    def test_a_proxy_is_that_of_fit_proxy_on_the_moments_of_the_pool(self, bench: Bench, pool: FeatureSet) -> None:
        kept, (told, spent) = bench.do(ProxyJob(pool, LABELLED, LABELS, CLASSES, CONFIG, 7), SHARE)
        rows = pool.span(0, ROWS)
        np.testing.assert_array_equal(kept.probabilities(rows), proxy_of(pool).probabilities(rows))
        np.testing.assert_array_equal(kept.mean, rows.mean(axis=0, dtype=np.float64).astype(np.float32))
        assert told is None
        assert_cost(spent)

    def test_a_proxy_on_two_versions_has_the_width_of_one(self, bench: Bench, pool: FeatureSet) -> None:
        both = SideBySide(pool, made(ROWS, 1, version=1))
        kept, _ = bench.do(ProxyJob(both, LABELLED, LABELS, CLASSES, CONFIG, 7), SHARE)
        assert kept.embed(both.span(0, 2)).shape == (2, DIM)

    def test_an_evaluation_is_that_of_evaluate(self, bench: Bench, pool: FeatureSet) -> None:
        test = made(90, 3)
        labels = (np.arange(90) - 5) % CLASSES
        job = EvaluateJob(Held(proxy_of(pool)), test, labels, NAMES)
        kept, (told, spent) = bench.do(job, SHARE)
        predicted = proxy_of(pool).probabilities(test.span(0, 90)).argmax(axis=1)
        assert told == evaluate(proxy_of(pool), test, labels, NAMES)
        assert told.accuracy == (predicted == labels).mean() > 1 / CLASSES
        assert kept is None
        assert_cost(spent)

    @pytest.mark.parametrize("strategy", ["random", "margin", "badge", "coreset", "bald", "typiclust"])
    @pytest.mark.parametrize("wrap", [(), ({"subsample": {"rows": 200}},)])
    def test_picks_are_those_of_run_plan(
        self, bench: Bench, pool: FeatureSet, strategy: str, wrap: tuple[Any, ...]
    ) -> None:
        plan, proxy = check_strategy(strategy, {}, wrap), proxy_of(pool)
        members = [proxy_of(pool, seed) for seed in (1, 2, 3)] if "members" in plan.inputs else []
        given = selection_inputs(plan, pool, LABELLED, LABELS, proxy, members)
        expected = run_plan(plan, make_pool(**given), budget=11, seed=5)
        choice = choice_of(plan, strategy, {}, wrap)
        handles = tuple(Held(member) for member in members)
        job = PickJob(choice, pool, LABELLED, LABELS, Held(proxy), handles, budget=11, seed=5)
        kept, (told, spent) = bench.do(job, SHARE)
        assert told.tolist() == expected.tolist()
        assert not set(told.tolist()) & set(LABELLED.tolist())
        assert kept is None
        assert_cost(spent)

    def test_the_first_picks_need_no_model(self, bench: Bench, pool: FeatureSet) -> None:
        plan, nothing = check_strategy("typiclust"), np.zeros(0, np.int64)
        given = selection_inputs(plan, pool, nothing, nothing, None, ())
        expected = run_plan(plan, make_pool(**given), budget=9, seed=5)
        job = PickJob(choice_of(plan, "typiclust"), pool, nothing, nothing, None, (), budget=9, seed=5)
        assert bench.do(job, SHARE)[1][0].tolist() == expected.tolist()

    def test_who_runs_a_strategy_is_asked_and_its_cores_are_charged(self, pool: FeatureSet) -> None:
        asked: list[Any] = []

        def find(plan: Any, features: Any, wanted: Any) -> LocalPicker:
            asked.append((plan.info.name, features, wanted))
            return LocalPicker(cpus=6.0)

        plan = check_strategy("margin")
        job = PickJob(
            choice_of(plan, "margin"), pool, LABELLED, LABELS, Held(proxy_of(pool)), (), budget=3, seed=0, sharded=True
        )
        _, (_, spent) = Bench(find_picker=find).do(job, SHARE)
        assert asked == [("margin", pool, True)]
        assert_cost(spent, Share(6.0, 0.25))

    def test_indicators_are_logme_and_logme_ped_on_the_labelled_rows(self, bench: Bench, pool: FeatureSet) -> None:
        job = IndicatorJob(("logme", "logme_ped"), pool, LABELLED, LABELS)
        _, (told, spent) = bench.do(job, SHARE)
        features = pool.gather(LABELLED)
        assert told == {
            "logme": logme(features, LABELS),
            "logme_ped": logme_ped(features, LABELS, pool.mean, pool.std),
        }
        assert_cost(spent)
        assert list(bench.do(replace(job, names=("logme",)), SHARE)[1][0]) == ["logme"]

    @pytest.mark.parametrize("beside", [False, True])
    def test_a_refresh_is_judged_by_two_proxies_on_the_rows_it_did_not_see(
        self, bench: Bench, pool: FeatureSet, beside: bool
    ) -> None:
        new, held = made(60, 9, version=1), np.arange(60) % 4 == 0
        job = VerifyJob(pool, pool if beside else None, new, LABELLED, LABELS, held, CLASSES, CONFIG, 3)
        _, (told, spent) = bench.do(job, SHARE)
        present, after = pool.gather(LABELLED), new.span(0, 60)
        if beside:
            after = np.concatenate([present, after], axis=1)
        config = CONFIG.model_copy(update={"hidden": [DIM]})
        scored = [
            fit_proxy(rows[~held], LABELS[~held], classes=CLASSES, config=config, seed=3).probabilities(rows[held])
            for rows in (present, after)
        ]
        assert told == judge(scored[0], scored[1], LABELS[held])
        assert told.rows == 15
        assert_cost(spent)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return tiny_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def dataset(config: Config) -> Dataset:
    return open_dataset(config.data)


@pytest.fixture(scope="module")
def spec(config: Config) -> EncoderSpec:
    return EncoderSpec(config.encoder, "text")


def training(config: Config, dataset: Dataset) -> FineTuneJob:
    labels = dataset.oracle.buy(np.arange(12))
    return FineTuneJob("ft", dataset.pool, np.arange(12), labels, CLASSES, config.training, 0, "encoder")


class TestEncoder:
    def test_a_shard_is_that_of_a_session_and_an_encoder(
        self, bench: Bench, config: Config, dataset: Dataset, spec: EncoderSpec
    ) -> None:
        table, told = bench.extract(
            ExtractionOrder("key", Held(dataset.pool), spec), ShardJob(2, 20, 45, "float32"), SHARE
        )
        features = features_of(table)
        rows = dataset.pool.take(np.arange(20, 45))
        np.testing.assert_array_equal(features, Encoder.load(config.encoder, "text").encode(rows))
        assert table["row"].to_pylist() == list(range(20, 45))
        assert (told.index, told.rows, told.dim, told.reused) == (2, 25, features.shape[1], False)
        np.testing.assert_allclose(told.moments.mean, features.mean(axis=0, dtype=np.float64))
        assert_cost(told.spent)

    def test_a_training_is_that_of_a_session_and_its_weights_extract(
        self, bench: Bench, config: Config, dataset: Dataset, spec: EncoderSpec
    ) -> None:
        job = training(config, dataset)
        head, expected = EncoderSession(config.encoder, "text").train(job)
        weights, told = bench.train(TrainingOrder(job, spec), SHARE)
        assert weights is not None
        assert expected is not None
        assert weights.keys() == expected.keys()
        for name, array in expected.items():
            np.testing.assert_array_equal(weights[name], array)
        np.testing.assert_array_equal(told.head.weight, head.weight)
        assert not told.reused
        assert_cost(told.spent)
        shard = ShardJob(0, 0, 20, "float32")
        plain = ExtractionOrder("plain", Held(dataset.pool), spec)
        tuned = replace(plain, key="tuned", weights=HeldWeights(job.key, weights))
        encoder = Encoder.load(config.encoder, "text")
        rows = dataset.pool.take(np.arange(20))
        before = encoder.encode(rows)
        encoder.load_state(weights)
        for order, features in ((tuned, encoder.encode(rows)), (plain, before)):
            np.testing.assert_array_equal(features_of(bench.extract(order, shard, SHARE)[0]), features)

    @pytest.mark.parametrize("tuned", [False, True])
    def test_the_next_shard_is_read_while_one_is_in_the_forward_pass(
        self,
        tuned: bool,
        bench: Bench,
        config: Config,
        dataset: Dataset,
        spec: EncoderSpec,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        encoder = Encoder.load(config.encoder, "text")
        weights = HeldWeights("tuned", encoder.state()) if tuned else None
        order = ExtractionOrder("key", Held(dataset.pool), spec, weights)
        shards = [ShardJob(place, 20 * place, 20 * place + 20, "float32") for place in range(2)]
        # The session has its encoder and the weights.
        bench.extract(order, shards[0], SHARE)
        prepare, begin, both_read = Encoder.prepare, Encoder.begin_encoding, threading.Event()
        read: list[int] = []

        def prepared(encoder: Encoder, rows: Any) -> Any:
            found = prepare(encoder, rows)
            read.append(len(rows))
            if len(read) == 2:
                both_read.set()
            return found

        def encoded(encoder: Encoder, rows: Any) -> Any:
            assert both_read.wait(30), "the second shard waits for the first one's forward pass"
            return begin(encoder, rows)

        monkeypatch.setattr(Encoder, "prepare", prepared)
        monkeypatch.setattr(Encoder, "begin_encoding", encoded)
        with ThreadPoolExecutor(2) as threads:
            found = list(threads.map(lambda shard: bench.extract(order, shard, SHARE)[0], shards))
        for table, shard in zip(found, shards, strict=True):
            expected = begin(encoder, prepare(encoder, dataset.pool.take(np.arange(shard.start, shard.stop))))()
            np.testing.assert_array_equal(features_of(table), expected)

    def test_the_next_shard_is_queued_while_features_are_fetched(
        self, bench: Bench, dataset: Dataset, spec: EncoderSpec, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What a GPU is through with travels while it works on the next shard."""
        begin, both_queued, queued = Encoder.begin_encoding, threading.Event(), []

        def begun(encoder: Encoder, rows: Any) -> Callable[[], np.ndarray]:
            fetch = begin(encoder, rows)
            queued.append(rows)
            if len(queued) == 2:
                both_queued.set()

            def fetched() -> np.ndarray:
                assert both_queued.wait(30), "the second shard waits for the first one's features"
                return fetch()

            return fetched

        monkeypatch.setattr(Encoder, "begin_encoding", begun)
        order = ExtractionOrder("key", Held(dataset.pool), spec)
        shards = [ShardJob(place, 20 * place, 20 * place + 20, "float32") for place in range(2)]
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda shard: bench.extract(order, shard, SHARE), shards))

    @pytest.mark.parametrize("other", ["extraction", "training"])
    def test_work_that_needs_other_weights_waits_for_a_shard_that_is_being_made(
        self,
        other: str,
        bench: Bench,
        config: Config,
        dataset: Dataset,
        spec: EncoderSpec,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Trials share a worker: what one of them does must not change the weights under another."""
        job = training(config, dataset)
        state = Encoder.load(config.encoder, "text").state()
        weights = HeldWeights("half", {name: array / 2 for name, array in state.items()})
        shard = ShardJob(0, 0, 20, "float32")
        plain = ExtractionOrder("plain", Held(dataset.pool), spec)
        tuned = replace(plain, key="tuned", weights=weights)
        expected = features_of(bench.extract(tuned, shard, SHARE)[0])
        extract, begun, over = EncoderSession.extract, threading.Event(), threading.Event()

        def slow(session: EncoderSession, *args: Any) -> Any:
            if not begun.is_set():
                begun.set()
                over.wait(0.5)
            return extract(session, *args)

        monkeypatch.setattr(EncoderSession, "extract", slow)
        with ThreadPoolExecutor(2) as threads:
            first = threads.submit(bench.extract, tuned, shard, SHARE)
            assert begun.wait(10)
            if other == "extraction":
                bench.extract(plain, shard, SHARE)
            else:
                bench.train(TrainingOrder(job, spec), SHARE)
            over.set()
            table, _ = first.result()
        np.testing.assert_array_equal(features_of(table), expected)

    def test_the_last_encoder_asked_for_is_the_one_held(
        self, bench: Bench, dataset: Dataset, spec: EncoderSpec
    ) -> None:
        short = EncoderSpec(spec.config.model_copy(update={"max_length": 3}), "text")
        shard = ShardJob(0, 0, 20, "float32")
        orders = [ExtractionOrder(f"{number}", Held(dataset.pool), one) for number, one in enumerate((spec, short))]
        first, other, again = (features_of(bench.extract(orders[number], shard, SHARE)[0]) for number in (0, 1, 0))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_a_packed_model_loads_as_a_classifier_that_predicts_the_same(
        self, bench: Bench, config: Config, dataset: Dataset, spec: EncoderSpec, tmp_path: Path
    ) -> None:
        weights, told = bench.train(TrainingOrder(training(config, dataset), spec), SHARE)
        assert weights is not None
        texts = dataset.test.take(np.arange(40))
        found = {}
        for name, handle in (("tuned", HeldWeights("k", weights)), ("plain", None)):
            files, (nothing, spent) = bench.do(PackJob(spec, told.head, handle, dataset.classes), SHARE)
            assert nothing is None
            assert_cost(spent)
            assert all(content.dtype == np.uint8 and content.ndim == 1 for content in files.values())
            unpack(files, tmp_path / name)
            found[name] = Classifier.load(tmp_path / name, device="cpu").probabilities(texts)
            encoder = Encoder.load(config.encoder, "text", device="cpu")
            if handle is not None:
                encoder.load_state(handle.load())
            expected = Classifier(encoder, told.head, dataset.classes)
            np.testing.assert_allclose(found[name], expected.probabilities(texts), atol=1e-6)
            expected.save(tmp_path / "saved" / name)
            assert {path: (tmp_path / name / path).read_bytes() for path in files} == {
                str(path.relative_to(tmp_path / "saved" / name)): path.read_bytes()
                for path in (tmp_path / "saved" / name).rglob("*")
                if path.is_file()
            }
        assert not np.allclose(found["tuned"], found["plain"])

    def test_where_there_is_no_encoder_the_head_alone_is_packed(
        self, bench: Bench, config: Config, dataset: Dataset, spec: EncoderSpec, tmp_path: Path
    ) -> None:
        _, told = bench.train(TrainingOrder(training(config, dataset), spec), SHARE)
        job = PackJob(EncoderSpec(config.encoder, "features"), told.head, None, dataset.classes)
        unpack(bench.do(job, SHARE)[0], tmp_path / "model")
        head, classes = load_head(tmp_path / "model")
        np.testing.assert_array_equal(head.weight, told.head.weight)
        assert classes == dataset.classes

    def test_a_training_in_the_cache_is_told_with_what_it_cost_then(
        self, bench: Bench, config: Config, dataset: Dataset, spec: EncoderSpec, tmp_path: Path
    ) -> None:
        cache = Cache(str(tmp_path / "cache"))
        order = TrainingOrder(training(config, dataset), spec, cache)
        weights, first = bench.train(order, SHARE)
        for again, share in ((bench, SHARE), (Bench(), Share(16.0, 1.0))):
            found, told = again.train(order, share)
            assert (told.reused, told.spent, told.notes) == (True, first.spent, ())
            assert weights is not None
            assert found is not None
            for name, array in weights.items():
                np.testing.assert_array_equal(found[name], array)
        entry = cache.entry("models", order.job.key)
        description = entry.description()
        # What an earlier version wrote.
        entry.describe({"files": description["files"], "seconds": 3.5})
        assert bench.train(order, SHARE)[1].spent == Spent(3.5, 3.5)


class TestCachedShards:
    @pytest.fixture
    def cache(self, tmp_path: Path) -> Cache:
        return Cache(str(tmp_path / "cache"))

    def extraction(self, config: Config, dataset: Dataset) -> Extraction:
        return Extraction(dataset.pool, "encoder", 0, config.extraction, title="pool")

    def test_features_read_by_many_threads_are_charged_what_they_cost_when_they_were_made(
        self, config: Config, dataset: Dataset, spec: EncoderSpec, cache: Cache
    ) -> None:
        wanted = self.extraction(config, dataset)
        first = InProcessBackend(spec, cache, SilentReporter()).extract(wanted)
        assert first.saved == NOTHING
        assert first.spent.seconds > 0
        backend, together = InProcessBackend(spec, cache, SilentReporter()), threading.Barrier(4)

        def read(number: int) -> FeatureSet:
            together.wait()
            return backend.extract(wanted)

        with ThreadPoolExecutor(4) as threads:
            read_back = list(threads.map(read, range(4)))
        for features in read_back:
            assert features.spent == first.spent == features.saved
            np.testing.assert_array_equal(features.span(0, 300), first.span(0, 300))
        entry = wanted.entry(cache)
        assert entry is not None
        assert entry.spent() == first.spent

    def test_shards_that_overlap_in_one_process_cost_no_more_than_the_time_it_took(
        self, config: Config, dataset: Dataset, spec: EncoderSpec
    ) -> None:
        began = time.perf_counter()
        features = InProcessBackend(spec, None, SilentReporter()).extract(self.extraction(config, dataset))
        assert 0 < features.spent.seconds <= time.perf_counter() - began

    def test_a_damaged_shard_is_told_once_and_made_anew(
        self, config: Config, dataset: Dataset, spec: EncoderSpec, cache: Cache
    ) -> None:
        wanted, told = self.extraction(config, dataset), Told()
        backend = InProcessBackend(spec, cache, told)
        first = backend.extract(wanted)
        entry = wanted.entry(cache)
        assert entry is not None
        parts = entry.parts()
        path = Path(cache.root) / "features" / entry.key / parts["000003"]
        path.write_bytes(path.read_bytes()[:-40])
        mended = backend.extract(wanted)
        (line,) = told.lines
        assert parts["000003"] in line
        assert "made anew" in line
        np.testing.assert_array_equal(mended.span(0, 300), first.span(0, 300))
        assert entry.parts() == parts
        # Five of six shards were there.
        assert mended.saved.seconds == pytest.approx(first.spent.seconds * 5 / 6)
        assert mended.spent.seconds > mended.saved.seconds
        backend.extract(wanted)
        assert len(told.lines) == 1

    def test_a_bench_tells_of_a_shard_that_is_read_and_of_one_that_cannot_be(
        self, bench: Bench, config: Config, dataset: Dataset, spec: EncoderSpec, cache: Cache
    ) -> None:
        wanted = self.extraction(config, dataset)
        entry = wanted.entry(cache)
        assert entry is not None
        order = ExtractionOrder(wanted.fingerprint, Held(dataset.pool), spec)
        job = wanted.jobs(entry, print)[0]
        assert job.stored is None
        table, told = bench.extract(order, job, SHARE)
        assert (told.reused, told.note, told.unwritten) == (False, None, None)
        job = wanted.jobs(entry, print)[0]
        read, told = bench.extract(order, job, SHARE)
        assert read.equals(table)
        assert (told.reused, told.spent, told.note) == (True, NOTHING, None)
        evicted = replace(job, stored="000000-0123456789abcdef0123456789abcdef.arrow")
        anew, told = bench.extract(order, evicted, SHARE)
        assert anew.equals(table)
        assert not told.reused
        assert "not stored" in str(told.note)
        assert_cost(told.spent)
