"""Two feature versions side by side are what their arrays put beside each other are, for every strategy."""

from __future__ import annotations

import itertools
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from asvp.features import FeatureSet, HeldShard, Moments, SideBySide, feature_table
from asvp.selection import check_strategy, make_pool, run_plan, strategies
from asvp.selection.pool.sharded import even_owners, in_parts
from asvp.selection.rows import BLOCK_ROWS
from asvp.selection.testing import make_inputs, needed

ROWS, CLASSES = 2 * BLOCK_ROWS + 90, 4
STARTS = (0, 1500, 3000, ROWS)
LABELLED = np.array([3, 50, 2 * BLOCK_ROWS - 1, 2 * BLOCK_ROWS])
OPTIONS = {"activeft": {"iterations": 3}, "activeft_proxy": {"iterations": 3}, "typiclust": {"clusters": 20}}


def version(number: int, array: np.ndarray, dtype: str = "float32") -> FeatureSet:
    stored = array.astype(dtype)
    shards = [HeldShard(feature_table(stored[a:b], a, dtype)) for a, b in itertools.pairwise(STARTS)]
    return FeatureSet(number, tuple(shards), STARTS, array.shape[1], dtype, f"v{number}", Moments.of(stored))


def arrays() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(CLASSES, 6))
    old = centres[np.arange(ROWS) % CLASSES] + rng.normal(size=(ROWS, 6))
    # The aligned half is another encoder's: other numbers, another scale.
    return old.astype(np.float32), (40 * old[:, ::-1] ** 2 + rng.normal(size=old.shape)).astype(np.float32)


@pytest.fixture(scope="module", params=["float32", "float16"])
def joined(request: pytest.FixtureRequest) -> tuple[SideBySide, np.ndarray]:
    halves = [version(number, array, request.param) for number, array in enumerate(arrays())]
    plain = [half.gather(np.arange(ROWS)).astype(np.float32) for half in halves]
    scaled = [half / np.float32(np.sqrt(half.astype(np.float64).var(axis=0).mean())) for half in plain]
    return SideBySide(*halves), np.concatenate(scaled, axis=1)


def test_rows_moments_and_blocks_are_those_of_one_array(joined: tuple[SideBySide, np.ndarray]) -> None:
    view, array = joined
    assert (len(view), view.dim, view.version) == (ROWS, 12, 1)
    rows = np.array([ROWS - 1, 0, 1500, 1499, 0])
    assert_array_equal(view.gather(rows), array[rows])
    assert_array_equal(view.span(1490, 3010), array[1490:3010])
    assert_array_equal(np.concatenate([block for _, block in view.blocks()]), array)
    assert_allclose(view.mean, array.mean(axis=0, dtype=np.float64), rtol=1e-5)
    assert_allclose(view.std, array.std(axis=0, dtype=np.float64), rtol=1e-5)
    assert_allclose(np.square(view.std[:6]).mean(), np.square(view.std[6:]).mean())


@pytest.mark.parametrize("name", list(strategies()))
def test_every_strategy_picks_from_the_view_what_it_picks_from_the_array(
    joined: tuple[SideBySide, np.ndarray], name: str
) -> None:
    view, array = joined
    plan = check_strategy(name, OPTIONS.get(name, {}))
    inputs = make_inputs(array, CLASSES, LABELLED)
    wanted = run_plan(plan, make_pool(**needed(plan, inputs)), budget=30, seed=3)
    inputs |= {key: view for key in ("features", "raw_features")}
    pool = make_pool(**needed(plan, inputs))
    assert_array_equal(run_plan(plan, pool, budget=30, seed=3), wanted)
    assert_array_equal(run_plan(plan, in_parts(pool, even_owners(ROWS, 2)), budget=30, seed=3), wanted)


def test_what_travels_is_the_halves_and_what_is_kept_is_nothing(joined: tuple[SideBySide, np.ndarray]) -> None:
    view, array = joined
    sent = pickle.loads(pickle.dumps(view))
    assert_array_equal(sent.span(0, 10), array[:10])
    assert sent.fingerprint == view.fingerprint != view.parts[0].fingerprint
    assert view.nbytes == sum(part.nbytes for part in view.parts)
    assert not any(isinstance(kept, np.ndarray) and kept.ndim > 1 for kept in vars(view).values())


def test_a_half_that_is_the_same_for_all_rows_hurts_nothing() -> None:
    old, _ = arrays()
    view = SideBySide(version(0, old), version(1, np.ones_like(old)))
    assert np.isfinite(view.span(0, 5)).all()


def test_versions_in_other_shards_do_not_go_together() -> None:
    old, new = arrays()
    shorter = FeatureSet(
        1, (HeldShard(feature_table(new, 0, "float32")),), (0, ROWS), 6, "float32", "x", Moments.of(new)
    )
    with pytest.raises(ValueError, match="same shards"):
        SideBySide(version(0, old), shorter)
