"""A model's views of the pool: what they hold, and how often the model is asked."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from asvp.compute.scoring import ScoredRows
from asvp.compute.selection_inputs import selection_inputs
from asvp.config import ProxyConfig
from asvp.features.feature_set import FeatureSet, HeldShard
from asvp.features.moments import Moments
from asvp.features.table import feature_table
from asvp.models.proxy import Proxy, fit_proxy
from asvp.selection import check_strategy, make_pool, run_plan, select, strategies

ROWS, DIM, CLASSES = 5000, 6, 3


@pytest.fixture
def pool() -> FeatureSet:
    features = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)
    shards = tuple(HeldShard(feature_table(features[cut : cut + 1700], cut, "float32")) for cut in (0, 1700, 3400))
    return FeatureSet(0, shards, (0, 1700, 3400, ROWS), DIM, "float32", "made", Moments.of(features))


@pytest.fixture
def proxy(pool: FeatureSet) -> Proxy:
    labels = np.arange(60) % CLASSES
    return fit_proxy(pool.gather(np.arange(60)), labels, classes=CLASSES, config=ProxyConfig(epochs=3), seed=0)


def test_both_views_hold_what_the_model_gives(pool: FeatureSet, proxy: Proxy) -> None:
    scored = ScoredRows(pool, proxy)
    features = pool.span(1000, 2500)
    np.testing.assert_array_equal(scored.hidden.span(1000, 2500), proxy.embed(features))
    np.testing.assert_array_equal(scored.probabilities.span(1000, 2500), proxy.probabilities(features))
    rows = np.array([4999, 3, 3])
    np.testing.assert_array_equal(scored.probabilities.gather(rows), proxy.probabilities(pool.gather(rows)))
    np.testing.assert_array_equal(scored.hidden.gather(rows[:2]), proxy.embed(pool.gather(rows[:2])))
    assert (len(scored.hidden), scored.hidden.dim, scored.probabilities.dim) == (ROWS, DIM, CLASSES)


def test_a_gathered_view_may_be_written_to(pool: FeatureSet, proxy: Proxy) -> None:
    scored, rows = ScoredRows(pool, proxy), np.array([1, 2])
    before = scored.hidden.gather(rows)
    scored.hidden.gather(rows)[:] = 0
    np.testing.assert_array_equal(scored.hidden.gather(rows), before)


def select_once(name: str) -> weakref.ref[FeatureSet]:
    """Pick from a pool that nothing else holds."""
    features = np.random.default_rng(0).normal(size=(300, DIM)).astype(np.float32)
    shards = (HeldShard(feature_table(features, 0, "float32")),)
    pool = FeatureSet(0, shards, (0, 300), DIM, "float32", "made", Moments.of(features))
    labelled, labels = np.arange(30), np.arange(30) % CLASSES
    plan = check_strategy(name)
    config = ProxyConfig(epochs=2, hidden=[] if name == "alfa_mix" else ["auto"])
    model = fit_proxy(features[:30], labels, classes=CLASSES, config=config, seed=0)
    run_plan(plan, make_pool(**selection_inputs(plan, pool, labelled, labels, model, [model, model])), budget=5, seed=0)
    return weakref.ref(pool)


@pytest.mark.parametrize("name", list(strategies()))
def test_a_feature_version_goes_when_its_last_selection_is_over(name: str) -> None:
    # The first call may import modules, whose import leaves frames behind.
    select_once(name)
    gc.disable()
    try:
        assert select_once(name)() is None
    finally:
        gc.enable()


def test_badge_asks_the_model_once_for_both(pool: FeatureSet, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    forward = Proxy._forward

    def counted(model: Proxy, features: np.ndarray, wanted: tuple[str, ...]) -> list[np.ndarray]:
        asked.append(len(features))
        return forward(model, features, wanted)

    monkeypatch.setattr(Proxy, "_forward", counted)
    scored = ScoredRows(pool, proxy)
    views = {"features": scored.hidden, "probabilities": scored.probabilities}
    picks = select("badge", budget=1, seed=0, **views)
    assert sum(asked) == ROWS
    embedded, probabilities = proxy.embed(pool.span(0, ROWS)), proxy.probabilities(pool.span(0, ROWS))
    assert picks.tolist() == select("badge", budget=1, seed=0, features=embedded, probabilities=probabilities).tolist()
