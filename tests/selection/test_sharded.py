"""Selection on a pool in parts picks what it picks on a pool in one piece."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from asvp.errors import SelectionError
from asvp.selection import ArrayRows, check_strategy, make_pool, run_plan, strategies, wrappers
from asvp.selection.geometry.points import Points
from asvp.selection.pool.sharded import LocalCrew, PartRows, ShardedSpace, even_owners, in_parts
from asvp.selection.rows import BLOCK_ROWS, BlockRows

ROWS, DIM, CLASSES = 4 * BLOCK_ROWS + 300, 5, 4
LABELLED = np.array([3, 50, 2 * BLOCK_ROWS - 1, 2 * BLOCK_ROWS, 8000, ROWS - 1])
OWNERS = np.array([0, 1, 0, 1, 1])
PLANS = [(name, ()) for name in strategies()] + [("badge", (name,)) for name in wrappers()]
NAMES = [name if not wrap else f"{name}-in-{wrap[0]}" for name, wrap in PLANS]
OPTIONS = {"activeft": {"iterations": 3}, "activeft_proxy": {"iterations": 3}, "typiclust": {"clusters": 20}}


@pytest.fixture(scope="module")
def features() -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = 3 * rng.normal(size=(CLASSES, DIM))
    found = (centres[np.arange(ROWS) % CLASSES] + rng.normal(size=(ROWS, DIM))).astype(np.float32)
    found[6000:6010] = found[0]
    return found


def pool_of(features: np.ndarray, inputs: dict[str, Any], needed: tuple[str, ...]) -> Any:
    given = {key: inputs[key] for key in needed}
    return make_pool(size=len(features), labelled=inputs["labelled"], **given)


@pytest.mark.parametrize(("name", "wrap"), PLANS, ids=NAMES)
def test_picks_from_parts_equal_picks_from_the_whole(pool_inputs, features, name, wrap):
    plan = check_strategy(name, OPTIONS.get(name, {}), wrap)
    pool = pool_of(features, pool_inputs(features, CLASSES, LABELLED), plan.inputs)
    whole = run_plan(plan, pool, budget=40, seed=3)
    np.testing.assert_array_equal(run_plan(plan, in_parts(pool, OWNERS), budget=40, seed=3), whole)
    np.testing.assert_array_equal(run_plan(plan, in_parts(pool, even_owners(ROWS, 3)), budget=40, seed=3), whole)


@pytest.mark.parametrize("name", ["coreset_self", "badge"])
def test_picks_from_parts_equal_where_rows_are_copies(pool_inputs, name):
    features = np.repeat(np.random.default_rng(0).normal(size=(30, DIM)), 100, axis=0).astype(np.float16)
    plan = check_strategy(name)
    pool = pool_of(features, pool_inputs(features, CLASSES, np.array([5])), plan.inputs)
    whole = run_plan(plan, pool, budget=45, seed=1)
    np.testing.assert_array_equal(run_plan(plan, in_parts(pool, np.array([1, 0])), budget=45, seed=1), whole)


def test_the_first_picks_can_be_made_from_parts(features):
    plan = check_strategy("coreset_self")
    pool = make_pool(features=features)
    whole = run_plan(plan, pool, budget=30, seed=2)
    np.testing.assert_array_equal(run_plan(plan, in_parts(pool, OWNERS), budget=30, seed=2), whole)


SHARDED = [(name, ()) for name, info in strategies().items() if info.sharded and info.inputs]
SHARDED += [(name, ({"subsample": {"rows": 500}},)) for name in ("bald", "typiclust")]


@pytest.mark.parametrize(("name", "wrap"), SHARDED)
def test_sharded_strategies_bring_only_candidates_together(monkeypatch, pool_inputs, features, name, wrap):
    travelled = 0
    gather, points = PartRows.gather, ShardedSpace.points

    def counted(rows: PartRows, numbers: np.ndarray) -> np.ndarray:
        nonlocal travelled
        travelled += len(numbers)
        return gather(rows, numbers)

    def counted_points(space: ShardedSpace, numbers: np.ndarray) -> Points:
        nonlocal travelled
        travelled += len(numbers)
        return points(space, numbers)

    def refused(rows: PartRows, start: int, stop: int) -> np.ndarray:
        raise AssertionError("a span of the pool was brought together")

    monkeypatch.setattr(PartRows, "gather", counted)
    monkeypatch.setattr(ShardedSpace, "points", counted_points)
    monkeypatch.setattr(PartRows, "span", refused)
    plan = check_strategy(name, OPTIONS.get(name, {}), wrap)
    assert plan.sharded
    inputs = pool_inputs(features, CLASSES, LABELLED)
    if name in ("alfa_mix", "drop_query"):
        # Only rows near the border change their class.
        inputs["head"].weight[:] *= 0.2
    pool = in_parts(pool_of(features, inputs, plan.inputs), OWNERS)
    # What lies in this process is not to be looked at.
    run_plan(plan, pool, budget=10, seed=0)
    # k-means over a sample reads it once for every step.
    assert travelled < (ROWS / 2 if not wrap else 100 * 500)
    if name not in OPTIONS and not wrap:
        assert travelled > 0 or plan.info.score is not None


def test_blocks_of_a_part_carry_the_numbers_of_the_pool(features):
    pool = in_parts(make_pool(features=features, labelled=LABELLED), OWNERS)
    numbers = pool.map(lambda block: block.first + np.arange(len(block)))
    np.testing.assert_array_equal(numbers, np.arange(ROWS))
    best = pool.best(lambda block: block.first + np.arange(len(block), dtype=np.float64), 3)
    assert best.tolist() == [ROWS - 2, ROWS - 3, ROWS - 4]


def test_only_the_new_centres_are_sent_to_the_parts(monkeypatch, features):
    sent = []
    call = LocalCrew.all

    def measured(crew: LocalCrew, method: str, *arguments: Any) -> list[Any]:
        if method == "lower":
            sent.append(len(pickle.dumps(arguments)))
        return call(crew, method, *arguments)

    monkeypatch.setattr(LocalCrew, "all", measured)
    run_plan(check_strategy("coreset_self"), in_parts(make_pool(features=features), OWNERS), budget=3000, seed=0)
    assert sent[0] < 2000


def test_a_bad_row_is_named_by_its_number_in_the_pool(features):
    broken = features.copy()
    broken[7000, 2] = np.nan
    pool = make_pool(features=broken, labelled=[1])
    with pytest.raises(SelectionError, match=r"features: .*row 7000"):
        run_plan(check_strategy("coreset_self"), in_parts(pool, OWNERS), budget=3, seed=0)


def test_blocks_under_new_numbers_are_the_blocks_of_the_base(features):
    rows = BlockRows(ArrayRows(features), np.array([1, 4]))
    wanted = np.concatenate([features[BLOCK_ROWS : 2 * BLOCK_ROWS], features[4 * BLOCK_ROWS :]])
    assert len(rows) == len(wanted)
    np.testing.assert_array_equal(rows.span(0, BLOCK_ROWS), wanted[:BLOCK_ROWS])
    np.testing.assert_array_equal(rows.span(BLOCK_ROWS - 3, BLOCK_ROWS + 5), wanted[BLOCK_ROWS - 3 : BLOCK_ROWS + 5])
    np.testing.assert_array_equal(rows.gather(np.array([BLOCK_ROWS + 1, 4])), wanted[[BLOCK_ROWS + 1, 4]])


@pytest.mark.parametrize(("size", "parts"), [(1, 4), (BLOCK_ROWS, 2), (9 * BLOCK_ROWS, 4), (9 * BLOCK_ROWS + 1, 3)])
def test_even_owners_leave_no_part_without_a_block(size, parts):
    owners = even_owners(size, parts)
    assert len(owners) == -(-size // BLOCK_ROWS)
    assert np.unique(owners).tolist() == list(range(min(parts, len(owners))))
    assert (np.diff(owners) >= 0).all()
