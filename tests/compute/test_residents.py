"""Features in a device's memory: the same numbers, as many versions as fit, and models read them like any other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from asvp.compute.residents import ResidentFeatures, Residents
from asvp.config import ProxyConfig
from asvp.features.feature_set import FeatureSet, HeldShard, shard_starts
from asvp.features.moments import Moments
from asvp.features.side_by_side import SideBySide
from asvp.features.table import feature_table
from asvp.models.proxy import fit_proxy

ROWS, DIM = 700, 12


def version(seed: int, dtype: str = "float32") -> FeatureSet:
    features = np.random.default_rng(seed).normal(size=(ROWS, DIM)).astype(dtype)
    starts = shard_starts(ROWS, 300)
    shards = [HeldShard(feature_table(features[start:stop], start, dtype)) for start, stop in pairwise(starts)]
    return FeatureSet(seed, tuple(shards), starts, DIM, dtype, f"version {seed}", Moments.of(features))


def one_at_a_time() -> Residents:
    """Room for one version in all: what is held counts as free once it goes."""
    residents = Residents("cpu")
    whole = version(0).nbytes
    residents._room = lambda: whole - sum(held.nbytes for held in residents._held.values())
    return residents


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("both", [False, True])
def test_rows_are_those_of_the_features(dtype: str, both: bool) -> None:
    features = SideBySide(version(1, dtype), version(2, dtype)) if both else version(1, dtype)
    resident = Residents("cpu", lambda: 1 << 30).rows_of(features)
    assert isinstance(resident, ResidentFeatures)
    assert (len(resident), resident.dim) == (len(features), features.dim)
    rows = np.array([600, 3, 3, 299])
    np.testing.assert_allclose(np.asarray(resident.span(250, 420)), features.span(250, 420), rtol=1e-6)
    np.testing.assert_allclose(np.asarray(resident.gather(rows)), features.gather(rows), rtol=1e-6)
    joined = np.concatenate([np.asarray(block) for _, block in resident.blocks()])
    np.testing.assert_allclose(joined, features.span(0, ROWS), rtol=1e-6)


def test_a_proxy_scores_them_like_arrays() -> None:
    features = version(1)
    labels = np.arange(50) % 3
    config = ProxyConfig(epochs=2, hidden=[8])
    proxy = fit_proxy(features.span(0, 50), labels, classes=3, config=config, seed=0, device="cpu")
    resident = Residents("cpu", lambda: 1 << 30).rows_of(features)
    assert_array_equal(proxy.probabilities(resident.span(0, ROWS)), proxy.probabilities(features.span(0, ROWS)))


def test_the_version_read_longest_ago_goes_first() -> None:
    residents = one_at_a_time()
    assert isinstance(residents.rows_of(version(1)), ResidentFeatures)
    assert list(residents._held) == ["version 1"]
    assert isinstance(residents.rows_of(version(2)), ResidentFeatures)
    assert list(residents._held) == ["version 2"]


def test_what_does_not_fit_is_read_where_it_lies_and_drops_nothing() -> None:
    residents = one_at_a_time()
    residents.rows_of(version(1))
    both = SideBySide(version(2), version(3))
    assert residents.rows_of(both) is both
    assert list(residents._held) == ["version 1"]


def test_nothing_is_kept_twice_on_a_cpu() -> None:
    features = version(1)
    assert Residents("cpu").rows_of(features) is features
