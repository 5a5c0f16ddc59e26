"""A model's views of the pool: what they hold, and how often the model is asked."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.config import ProxyConfig
from pipeline.features.feature_set import FeatureSet, HeldShard
from pipeline.features.moments import Moments
from pipeline.features.table import feature_table
from pipeline.models.proxy import Proxy, fit_proxy
from pipeline.scoring import ScoredRows
from pipeline.selection import select

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
