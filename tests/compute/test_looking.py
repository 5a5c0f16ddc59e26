"""What people are shown of a round: the model's two most probable classes, and places on the widest axes."""

from __future__ import annotations

import numpy as np
import pytest

from asvp.compute import Held
from asvp.compute.bench import Bench
from asvp.compute.jobs import LookJob
from asvp.compute.looking import widest_axes
from asvp.features import FeatureSet, HeldShard, Moments, feature_table
from asvp.features.side_by_side import SideBySide
from asvp.models.head import Head
from asvp.spent import Share

ROWS, DIM, CLASSES = 400, 6, 3
SHARE = Share(2.0, 0.0)
PICKS = np.arange(5, 65, dtype=np.int64)
SAMPLE = np.arange(0, ROWS, 2, dtype=np.int64)


def made(seed: int, *, version: int = 0) -> FeatureSet:
    """Features that are wider along one direction than along others, cut into two shards."""
    features = np.random.default_rng(seed).normal(size=(ROWS, DIM)).astype(np.float32) * (5, 1, 3, 1, 1, 1)
    cut = ROWS // 3
    shards = tuple(HeldShard(feature_table(features[a:b], a, "float32")) for a, b in ((0, cut), (cut, ROWS)))
    return FeatureSet(version, shards, (0, cut, ROWS), DIM, "float32", f"made {seed}", Moments.of(features))


def test_thoughts_are_the_two_most_probable_classes_of_the_model() -> None:
    pool = made(0)
    head = Head(np.random.default_rng(3).normal(size=(CLASSES, DIM)).astype(np.float32), np.zeros(CLASSES, np.float32))
    job = LookJob(pool, PICKS[:9], Held(head), SAMPLE, PICKS)
    kept, (told, spent) = Bench().do(job, SHARE)
    probabilities = head.probabilities(pool.gather(PICKS[:9]))
    np.testing.assert_array_equal(told.thoughts.classes[:, 0], probabilities.argmax(axis=1))
    np.testing.assert_allclose(told.thoughts.probabilities, -np.sort(-probabilities, axis=1)[:, :2])
    assert told.thoughts.classes.shape == (9, 2)
    assert kept is None
    assert spent.seconds > 0


def test_places_are_the_first_principal_components_and_known_axes_give_the_same_places() -> None:
    pool = made(0)
    told = Bench().do(LookJob(pool, PICKS[:0], None, SAMPLE, SAMPLE), SHARE)[1][0]
    features = pool.gather(SAMPLE).astype(np.float64)
    left, scales, _ = np.linalg.svd(features - features.mean(axis=0), full_matrices=False)
    expected = left[:, :2] * scales[:2] / scales[0] * np.sqrt(len(SAMPLE))
    assert told.thoughts is None
    np.testing.assert_allclose(np.abs(told.places), np.abs(expected), atol=2e-3)
    again = Bench().do(LookJob(pool, PICKS[:0], None, SAMPLE, SAMPLE[5:9], told.axes), SHARE)[1][0]
    np.testing.assert_array_equal(again.places, told.places[5:9])


def test_of_two_versions_side_by_side_the_newer_is_on_the_map() -> None:
    first, second = made(0), made(1, version=1)
    both = Bench().do(LookJob(SideBySide(first, second), PICKS[:0], None, SAMPLE, SAMPLE), SHARE)[1][0]
    alone = Bench().do(LookJob(second, PICKS[:0], None, SAMPLE, SAMPLE), SHARE)[1][0]
    np.testing.assert_array_equal(both.places, alone.places)


@pytest.mark.parametrize("features", [np.ones((5, 3)), np.zeros((1, 4)), np.arange(6.0)[:, None]])
def test_features_without_two_directions_have_places_all_the_same(features: np.ndarray) -> None:
    places = widest_axes(features).place(features)
    assert places.shape == (len(features), 2)
    assert np.isfinite(places).all()
