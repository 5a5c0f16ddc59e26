"""The lazy greedy algorithms against the plain ones that look at every row for every pick."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from asvp.selection import select
from asvp.selection.geometry import lazy
from asvp.selection.geometry.bounds import HeldBounds
from asvp.selection.geometry.lazy import d2_sample, farthest_first
from asvp.selection.geometry.points import between, full_precision, lower
from asvp.selection.pool.spaces import EuclideanSpace, GradientSpace
from asvp.selection.rows import ArrayRows


def squared(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    differences = points[:, None].astype(np.float64) - centres[None].astype(np.float64)
    return (differences**2).sum(axis=2)


def plain_farthest_first(features: np.ndarray, budget: int, labelled: list[int]) -> list[int]:
    """k-center greedy from all distances in float64."""
    nearest = squared(features, features[labelled]).min(axis=1)
    nearest[labelled] = -1
    picks = []
    for _ in range(budget):
        picks.append(int(nearest.argmax()))
        nearest = np.minimum(nearest, squared(features, features[picks[-1:]])[:, 0])
        nearest[picks[-1]] = -1
    return picks


def gradients(features: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The (N, C·D) embedding that the package never makes."""
    errors = np.eye(probabilities.shape[1])[probabilities.argmax(axis=1)] - probabilities
    return (errors[:, :, None] * features[:, None].astype(np.float64)).reshape(len(features), -1)


def softmax(logits: np.ndarray) -> np.ndarray:
    odds = np.exp(logits)
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_farthest_first_picks_are_those_of_the_plain_algorithm(data):
    rows, dim = data.draw(st.integers(5, 80)), data.draw(st.integers(1, 6))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    kinds = ["real", "grid", "duplicates", "near copies", "offset", "large", "outlier", "float16"]
    kind = data.draw(st.sampled_from(kinds))
    features = rng.normal(size=(rows, dim)).astype(np.float32)
    if kind == "grid":
        features = rng.integers(0, 3, size=(rows, dim)).astype(np.float32)
    elif kind == "duplicates":
        features = features[rng.integers(0, max(2, rows // 4), size=rows)]
    elif kind == "near copies":
        noise = rng.normal(scale=1e-5, size=(rows, dim))
        features = (100 * (features[rng.integers(0, max(2, rows // 4), size=rows)] + noise)).astype(np.float32)
    elif kind == "large":
        features *= 1e6
    elif kind == "outlier":
        features[-1] *= 1e5
    elif kind == "offset":
        features += 300
    elif kind == "float16":
        features = features.astype(np.float16)
    labelled = np.sort(rng.choice(rows, size=data.draw(st.integers(1, 3)), replace=False))
    budget = data.draw(st.integers(1, rows - len(labelled)))
    window = data.draw(st.sampled_from([1, 3, 16]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lazy, "_WINDOW", window)
        patch.setattr(lazy, "_IN_VAIN", data.draw(st.sampled_from([0, 0.5])))
        space = EuclideanSpace(ArrayRows(features))
        picks = farthest_first(space, budget, labelled=labelled)
    assert picks.tolist() == plain_farthest_first(features, budget, labelled.tolist())


@pytest.mark.parametrize("kind", ["real", "binary"])
def test_farthest_first_over_many_blocks_and_windows(kind):
    rng = np.random.default_rng(0)
    # Of binary rows thousands are equally far, more than a window holds.
    features = rng.normal(size=(9000, 8)) if kind == "real" else rng.integers(0, 2, size=(9000, 14))
    features = features.astype(np.float32)
    picks = select("coreset_self", budget=150, seed=0, features=features, labelled=[5, 8000])
    assert picks.tolist() == plain_farthest_first(features, 150, [5, 8000])


def test_farthest_first_picks_the_same_rows_of_a_permuted_pool():
    features = np.random.default_rng(0).normal(size=(3000, 8)).astype(np.float32)
    order = np.random.default_rng(1).permutation(3000)
    labelled = np.array([5, 2000])
    plain = select("coreset_self", budget=200, seed=0, features=features, labelled=labelled)
    permuted = select(
        "coreset_self", budget=200, seed=0, features=features[order], labelled=np.argsort(order)[labelled]
    )
    np.testing.assert_array_equal(order[permuted], plain)


def test_training_settings_for_fast_products_change_no_pick():
    features = np.random.default_rng(0).normal(size=(500, 8)).astype(np.float32)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        picks = select("coreset_self", budget=50, seed=0, features=features, labelled=[5])
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)
    assert picks.tolist() == plain_farthest_first(features, 50, [5])


def sequence_chances(distances: np.ndarray, first: int, excluded: list[int], budget: int) -> dict[tuple, float]:
    """Exact chance of every ordered sequence of picks under sequential D² sampling."""
    chances = {(first,): 1.0}
    for _ in range(budget - 1):
        longer = {}
        for picks, chance in chances.items():
            weights = distances[:, list(picks)].min(axis=1)
            weights[list(excluded) + list(picks)] = 0
            for row in np.flatnonzero(weights):
                longer[(*picks, int(row))] = chance * weights[row] / weights.sum()
        chances = longer
    return chances


@pytest.mark.parametrize("refresh", [1, 2, 50])
@pytest.mark.parametrize("space_kind", ["euclidean", "gradient"])
def test_d2_picks_follow_the_distribution_of_the_sequential_algorithm(monkeypatch, refresh, space_kind):
    monkeypatch.setattr(lazy, "_STALE_SHARE", 0)
    monkeypatch.setattr(lazy, "_CANDIDATES", refresh)
    rng = np.random.default_rng(1)
    features = rng.normal(size=(6, 3)).astype(np.float32)
    probabilities = softmax(rng.normal(size=(6, 3)))
    if space_kind == "euclidean":
        space, distances = EuclideanSpace(ArrayRows(features)), squared(features, features)
    else:
        space = GradientSpace(ArrayRows(features), ArrayRows(probabilities))
        distances = squared(gradients(features, probabilities), gradients(features, probabilities))
    chances = sequence_chances(distances, 0, [4], 4)
    draws = 1200
    counts: dict[tuple, int] = {}
    for _ in range(draws):
        picks = tuple(d2_sample(space, 4, rng, first=0, excluded=np.array([4])).tolist())
        counts[picks] = counts.get(picks, 0) + 1
    assert set(counts) <= set(chances)
    statistic = sum((counts.get(key, 0) - draws * p) ** 2 / (draws * p) for key, p in chances.items())
    freedom = len(chances) - 1
    assert statistic < freedom + 4.5 * np.sqrt(2 * freedom)


def test_d2_sampling_with_many_stale_bounds_has_the_right_marginals():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(12, 2)).astype(np.float32)
    space = EuclideanSpace(ArrayRows(features))
    distances = squared(features, features)

    def sequential() -> list[int]:
        picks = [3]
        while len(picks) < 6:
            weights = distances[:, picks].min(axis=1)
            picks.append(int(rng.choice(12, p=weights / weights.sum())))
        return picks

    draws = 1500
    plain = np.bincount(np.concatenate([sequential() for _ in range(draws)]), minlength=12)
    drawn = [d2_sample(space, 6, rng, first=3, excluded=np.empty(0, dtype=np.int64)) for _ in range(draws)]
    np.testing.assert_allclose(np.bincount(np.concatenate(drawn), minlength=12) / draws, plain / draws, atol=0.06)


def test_distances_of_the_gradient_space_are_those_of_the_outer_products():
    rng = np.random.default_rng(0)
    features, probabilities = rng.normal(size=(40, 5)).astype(np.float32), softmax(rng.normal(size=(40, 4)))
    space = GradientSpace(ArrayRows(features), ArrayRows(probabilities))
    embedding = gradients(features, probabilities)
    points, centres = space.points(np.arange(40)), space.points(np.array([3, 9]))
    wanted = squared(embedding, embedding[[3, 9]])
    np.testing.assert_allclose(between(points, centres).numpy(), wanted, rtol=1e-5, atol=1e-9)
    held = torch.full((40,), torch.inf)
    lower(space.geometry, held, points, centres)
    np.testing.assert_allclose(held.numpy(), wanted.min(axis=1), rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize("offset", [0, 100, 3000])
def test_small_distances_far_from_the_origin_keep_their_digits(offset):
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(30, 8)) + offset).astype(np.float32)
    features[7] = features[3]
    features[7, 0] += 2**-6
    space = EuclideanSpace(ArrayRows(features))
    held = torch.full((30,), torch.inf)
    lower(space.geometry, held, space.points(np.arange(30)), space.points(np.array([3])))
    np.testing.assert_allclose(held.numpy(), squared(features, features[[3]])[:, 0], rtol=2e-3, atol=0)


def test_badge_begins_with_the_largest_gradient_among_unlabelled_rows():
    rng = np.random.default_rng(0)
    features, probabilities = rng.normal(size=(50, 5)).astype(np.float32), softmax(rng.normal(size=(50, 4)))
    order = np.argsort(-np.linalg.norm(gradients(features, probabilities), axis=1))
    inputs = {"features": features, "probabilities": probabilities, "seed": 0, "budget": 3}
    assert select("badge", **inputs)[0] == order[0]
    assert select("badge", labelled=order[:2], **inputs)[0] == order[2]


def test_draws_are_proportional_to_bounds_and_never_hit_excluded_rows():
    features = np.random.default_rng(0).normal(size=(5000, 2)).astype(np.float32)
    space = EuclideanSpace(ArrayRows(features))
    bounds = HeldBounds(space, np.arange(0, 5000, 2))
    bounds.values[1::2] = torch.arange(2500).float() % 4
    assert bounds.total() == float((np.arange(2500) % 4).sum())
    rows = bounds.draw((np.arange(37500) + 0.5) / 37500)
    assert (rows % 2 == 1).all()
    counts = np.bincount((rows // 2) % 4, minlength=4) / 37500
    np.testing.assert_allclose(counts, np.array([0, 1, 2, 3]) / 6, atol=1e-3)


def test_read_only_memory_is_used_without_copy_or_warning():
    features = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    features.setflags(write=False)
    space = EuclideanSpace(ArrayRows(features))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        blocks = [points for _, points in space.blocks()]
    assert blocks[0].factors[0].data_ptr() == features.ctypes.data


def test_top_names_the_largest_bounds_and_what_is_left():
    space = EuclideanSpace(ArrayRows(np.arange(6, dtype=np.float32)[:, None]))
    with full_precision():
        bounds = HeldBounds(space, np.array([5]))
        bounds.lower(space.points(np.array([0])))
        rows, outside = bounds.top(2)
        assert (rows.tolist(), outside) == ([3, 4], 4.0)
        rows, outside = bounds.top(10)
        assert (rows.tolist(), outside) == ([0, 1, 2, 3, 4], -1.0)


def test_partitioned_badge_takes_equal_shares_of_random_parts():
    rng = np.random.default_rng(0)
    features, probabilities = rng.normal(size=(90, 5)).astype(np.float32), softmax(rng.normal(size=(90, 4)))
    inputs = {"features": features, "probabilities": probabilities, "labelled": np.arange(10)}
    picks = select("badge_partition", budget=11, seed=2, parts=4, rows=40, **inputs)
    rows = np.random.default_rng(2).permutation(np.arange(10, 90))[:40]
    parts = np.array_split(rows, 4)
    ends = [0, 3, 6, 9, 11]
    for part, (start, end) in zip(parts, itertools.pairwise(ends), strict=True):
        assert set(picks[start:end].tolist()) <= set(part.tolist())
