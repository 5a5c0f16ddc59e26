"""k-means, and the strategies that cover a pool without labels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from asvp.selection import select
from asvp.selection.pool.pool import Pool
from asvp.selection.pool.spaces import EuclideanSpace
from asvp.selection.rows import ArrayRows
from asvp.selection.strategies.activeft import ActiveFTOptions, _gradient, _nearest_rows
from asvp.selection.strategies.clusters import kmeans, representatives
from asvp.selection.strategies.probcover import purity_radius
from asvp.selection.strategies.typiclust import typicalities


def blobs(groups: int, each: int, dim: int = 5, seed: int = 0, spread: float = 0.1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(groups, dim))
    return (np.repeat(centres, each, axis=0) + spread * rng.normal(size=(groups * each, dim))).astype(np.float32)


def unit(features: np.ndarray) -> np.ndarray:
    values = features.astype(np.float64)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def test_kmeans_ends_where_lloyds_algorithm_of_scikit_learn_stays():
    features = np.random.default_rng(0).normal(size=(600, 4)).astype(np.float32)
    found = kmeans(EuclideanSpace(ArrayRows(features)), 7, np.random.default_rng(1), iterations=200)
    again = KMeans(7, init=found.centres.numpy(), n_init=1, max_iter=300, tol=0).fit(features)
    np.testing.assert_array_equal(found.member_of, again.labels_)
    assert found.distances.sum() == pytest.approx(again.inertia_, rel=1e-4)


def test_kmeans_finds_separate_groups():
    found = kmeans(EuclideanSpace(ArrayRows(blobs(6, 40))), 6, np.random.default_rng(0))
    assert all(len(set(group)) == 1 for group in found.member_of.reshape(6, 40))
    assert len(set(found.member_of)) == 6


def test_representatives_are_the_rows_nearest_the_means_of_their_groups():
    features = blobs(4, 25)
    pool = Pool(size=100, labelled=np.empty(0, dtype=np.int64), features=ArrayRows(features))
    picks = representatives(pool, np.arange(100), 4, np.random.default_rng(0))
    wanted = set()
    for group in range(4):
        rows = np.arange(25 * group, 25 * group + 25)
        wanted.add(int(rows[np.linalg.norm(features[rows] - features[rows].mean(axis=0), axis=1).argmin()]))
    assert set(picks.tolist()) == wanted


def test_typicality_is_the_inverse_mean_distance_to_neighbours():
    features = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)
    got = typicalities(EuclideanSpace(ArrayRows(features), unit=True), np.arange(30), 6)
    apart = np.linalg.norm(unit(features)[:, None] - unit(features)[None], axis=2)
    nearest = np.sort(apart, axis=1)[:, 1:7]
    np.testing.assert_allclose(got, 1 / (nearest.mean(axis=1) + 1e-5), rtol=1e-5)


def test_typiclust_takes_the_most_typical_row_of_every_group_without_labels():
    features = blobs(5, 30)
    labelled = np.array([3, 64])
    picks = select("typiclust", budget=3, seed=0, features=features, labelled=labelled)
    wanted = set()
    for group in (1, 3, 4):
        rows = np.arange(30 * group, 30 * group + 30)
        apart = np.linalg.norm(unit(features)[rows][:, None] - unit(features)[rows][None], axis=2)
        wanted.add(int(rows[np.sort(apart, axis=1)[:, 1:16].mean(axis=1).argmin()]))
    assert set(picks.tolist()) == wanted


def plain_probcover(features: np.ndarray, radius: float, budget: int, labelled: list[int]) -> list[int]:
    """ProbCover's greedy from all pairs."""
    inside = np.linalg.norm(unit(features)[:, None] - unit(features)[None], axis=2) < radius
    uncovered = ~inside[labelled].any(axis=0)
    picks: list[int] = []
    while len(picks) < budget and uncovered.any():
        gains = inside[:, uncovered].sum(axis=1)
        gains[labelled + picks] = -1
        picks.append(int(gains.argmax()))
        uncovered &= ~inside[picks[-1]]
    return picks


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("radius", [0.05, 0.3, 0.8])
def test_probcover_picks_are_those_of_the_greedy_over_all_pairs(seed, radius):
    features = np.random.default_rng(seed).normal(size=(200, 3)).astype(np.float32)
    features[100:] = features[:100] + 0.05
    wanted = plain_probcover(features, radius, 60, [7, 90])
    picks = select("probcover", budget=60, seed=0, features=features, labelled=[7, 90], radius=radius)
    assert picks[: len(wanted)].tolist() == wanted


def test_the_radius_leaves_the_wanted_share_of_balls_pure():
    features = blobs(4, 60, spread=0.6)
    space = EuclideanSpace(ArrayRows(features), unit=True)
    radius = purity_radius(space, 4, 0.9, np.random.default_rng(0))
    member_of = kmeans(space, 4, np.random.default_rng(0)).member_of
    apart = np.linalg.norm(unit(features)[:, None] - unit(features)[None], axis=2)

    def pure(limit: float) -> float:
        return float(np.mean([len(set(member_of[row < limit])) == 1 for row in apart]))

    assert pure(radius * 0.999) >= 0.9 > pure(radius * 1.1)


def test_activeft_puts_one_pick_in_every_group_and_none_beside_labelled_rows():
    features = blobs(6, 40)
    picks = select("activeft", budget=4, seed=1, features=features, labelled=[0, 45], lr=0.05)
    assert sorted(set((picks // 40).tolist())) == [2, 3, 4, 5]


def test_activeft_descends_the_loss_of_the_paper():
    rng = np.random.default_rng(0)
    rows = torch.from_numpy(unit(rng.normal(size=(50, 6))).astype(np.float32))
    trained = torch.from_numpy(rng.normal(size=(7, 6)).astype(np.float32)).requires_grad_()
    centroids = torch.nn.functional.normalize(trained, dim=1)
    everyone = torch.cat([centroids, rows[:4]])
    nearest = (rows @ everyone.T).amax(dim=1)
    others = (centroids @ everyone.T).masked_fill(torch.eye(7, 11, dtype=torch.bool), -torch.inf)
    loss = -nearest.mean() / 0.1 + 0.5 * torch.logsumexp(others / 0.1, dim=1).mean()
    (wanted,) = torch.autograd.grad(loss, trained)

    space = EuclideanSpace(ArrayRows(rows.numpy()), unit=True)
    options = ActiveFTOptions(temperature=0.1, balance=0.5)
    reached = (rows @ rows[:4].T).amax(dim=1)
    found = _gradient(space, np.arange(50), trained.detach(), rows[:4], reached, options)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_two_centroids_never_take_the_same_row():
    features = np.eye(4, dtype=np.float32)
    space = EuclideanSpace(ArrayRows(features), unit=True)
    centroids = torch.tensor([[0.9, 0.5, 0, 0], [1.0, 0.4, 0, 0], [1.0, 0, 0.2, 0]])
    assert _nearest_rows(space, centroids, np.array([False] * 4)).tolist() == [0, 1, 2]
    assert _nearest_rows(space, centroids[:1], np.array([True, False, False, False])).tolist() == [1]
