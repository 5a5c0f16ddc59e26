"""FeatureSet, its tables and its moments."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from asvp.errors import DataError
from asvp.features import FeatureSet, HeldShard, Moments, feature_table, features_of
from asvp.features.feature_set import shard_starts
from asvp.features.moments import MomentsInOrder


def make_set(features: np.ndarray, starts: tuple[int, ...], dtype: str = "float32") -> FeatureSet:
    tables = [feature_table(features[a:b], a, dtype) for a, b in itertools.pairwise(starts)]
    return FeatureSet(
        version=0,
        shards=tuple(HeldShard(table) for table in tables),
        starts=starts,
        dim=features.shape[1],
        dtype=dtype,
        fingerprint="f",
        moments=Moments.of(features),
    )


@pytest.fixture
def features() -> np.ndarray:
    return np.random.default_rng(0).normal(3, 2, (23, 5)).astype(np.float32)


def test_gather_takes_rows_from_any_shard_in_the_order_asked_for(features: np.ndarray) -> None:
    held = make_set(features, (0, 10, 11, 23))
    rows = [22, 0, 10, 9, 10, 11]
    assert_array_equal(held.gather(rows), features[rows])


def test_gather_of_no_rows_is_empty(features: np.ndarray) -> None:
    assert make_set(features, (0, 23)).gather([]).shape == (0, 5)


def test_blocks_cover_all_rows_in_order(features: np.ndarray) -> None:
    blocks = list(make_set(features, (0, 10, 11, 23)).blocks())
    assert [start for start, _ in blocks] == [0, 10, 11]
    assert_array_equal(np.concatenate([block for _, block in blocks]), features)


@pytest.mark.parametrize(("start", "stop", "view"), [(0, 10, True), (3, 9, True), (10, 11, True), (9, 12, False)])
def test_a_span_is_a_view_within_a_shard_and_a_copy_across_a_seam(features, start, stop, view) -> None:
    held = make_set(features, (0, 10, 11, 23))
    assert_array_equal(held.span(start, stop), features[start:stop])
    assert held.span(start, stop).flags.writeable != view


def test_a_block_is_a_read_only_view_of_the_table(features: np.ndarray) -> None:
    table = feature_table(features, 0, "float32")
    view = features_of(table)
    assert not view.flags.owndata
    assert not view.flags.writeable
    address = table.column("feature").chunk(0).flatten().buffers()[1].address
    assert view.__array_interface__["data"][0] == address


def test_half_precision_features_are_stored_as_such(features: np.ndarray) -> None:
    held = make_set(features, (0, 23), "float16")
    assert held.gather([3]).dtype == np.float16
    assert held.nbytes == 23 * 5 * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_feature_that_is_not_finite_is_refused_by_row(features: np.ndarray, bad: float) -> None:
    features[7, 2] = bad
    with pytest.raises(DataError, match="row 107"):
        feature_table(features, 100, "float32")


def test_a_feature_beyond_half_precision_is_refused(features: np.ndarray) -> None:
    features[1, 1] = 1e6
    with pytest.raises(DataError, match="Use feature_dtype float32"):
        feature_table(features, 0, "float16")


def test_merged_moments_are_those_of_all_rows(features: np.ndarray) -> None:
    merged = Moments.of(features[:4]).merge(Moments.of(features[4:5])).merge(Moments.of(features[5:]))
    assert_allclose(merged.mean, features.mean(axis=0, dtype=np.float64), rtol=1e-12)
    assert_allclose(merged.std, features.std(axis=0, dtype=np.float64), rtol=1e-12)


def test_moments_keep_their_precision_far_from_zero() -> None:
    features = np.random.default_rng(0).normal(0, 1, (9000, 2)) + 1e8
    assert_allclose(Moments.of(features).std, features.std(axis=0), rtol=1e-6)


@pytest.mark.parametrize(("rows", "shard_rows"), [(1, 4096), (127, 4096), (2000, 4096), (100_000, 4096), (9, 2)])
def test_shards_cover_all_rows_and_none_is_too_large(rows: int, shard_rows: int) -> None:
    starts = shard_starts(rows, shard_rows)
    assert starts[0] == 0
    assert starts[-1] == rows
    assert all(0 < size <= shard_rows for size in np.diff(starts))


def test_moments_that_come_in_any_order_are_merged_in_the_order_of_shards_to_the_last_bit() -> None:
    rng = np.random.default_rng(0)
    parts = [Moments.of(rng.normal(scale=10.0**power, size=(7, 5))) for power in (3, -3, 0, 5, -2)]
    in_turn = functools.reduce(Moments.merge, parts)
    mixed = MomentsInOrder()
    for number in (3, 0, 4, 2, 1):
        mixed.add(number, parts[number])
    assert_array_equal(mixed.all().mean, in_turn.mean)
    assert_array_equal(mixed.all().deviation, in_turn.deviation)
    assert mixed.all().count == 35
