"""What every registered strategy and every wrapper promises."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import BudgetError, SelectionError
from pipeline.selection import ArrayRows, check_strategy, select, strategies, wrappers

ROWS, DIM, CLASSES = 60, 6, 4
LABELLED = np.array([3, 50, 17, 21, 8])
PLANS = [(name, ()) for name in strategies()]
PLANS += [("random", (name,)) for name in wrappers()]
PLANS += [("margin", (name,)) for name in wrappers()]
NAMES = [name if not wrap else f"{name}-in-{wrap[0]}" for name, wrap in PLANS]
every_plan = pytest.mark.parametrize(("name", "wrap"), PLANS, ids=NAMES)


def clustered(rows: int = ROWS, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(CLASSES, DIM))
    return (centres[np.arange(rows) % CLASSES] + rng.normal(size=(rows, DIM))).astype(np.float32)


class Shards:
    """Features in pieces of uneven sizes."""

    def __init__(self, array: np.ndarray, sizes: list[int]) -> None:
        self._array, self._sizes = array, sizes

    def __len__(self) -> int:
        return len(self._array)

    @property
    def dim(self) -> int:
        return self._array.shape[1]

    def span(self, start: int, stop: int) -> np.ndarray:
        ends = np.cumsum(self._sizes)
        pieces = [
            self._array[max(start, end - size) : min(stop, end)] for size, end in zip(self._sizes, ends, strict=True)
        ]
        return np.concatenate(pieces)

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return self._array[rows]


def needed(name: str, wrap: tuple[str, ...], inputs: dict) -> dict:
    """Only what the plan says it needs, and the labelled rows."""
    plan = check_strategy(name, {}, wrap)
    kept = {key: inputs[key] for key in plan.inputs}
    if not any(key in kept for key in ("features", "probabilities", "members")):
        kept["size"] = len(inputs["features"])
    return {**kept, "labelled": inputs["labelled"]}


def assert_valid(picks: np.ndarray, budget: int, labelled: np.ndarray, rows: int = ROWS) -> None:
    assert picks.dtype == np.int64
    assert picks.shape == (budget,)
    assert len(set(picks.tolist())) == budget
    assert picks.min() >= 0
    assert picks.max() < rows
    assert not set(picks.tolist()) & set(labelled.tolist())


@every_plan
@pytest.mark.parametrize("budget", [1, 7, ROWS - len(LABELLED)])
def test_picks_are_distinct_unlabelled_rows_and_repeat_with_the_seed(pool_inputs, name, wrap, budget):
    inputs = needed(name, wrap, pool_inputs(clustered(), CLASSES, LABELLED))
    picks = select(name, budget=budget, seed=5, wrap=wrap, **inputs)
    assert_valid(picks, budget, LABELLED)
    np.testing.assert_array_equal(picks, select(name, budget=budget, seed=5, wrap=wrap, **inputs))


@every_plan
def test_without_labelled_rows_it_picks_or_says_why_not(pool_inputs, name, wrap):
    none = np.empty(0, dtype=np.int64)
    inputs = needed(name, wrap, pool_inputs(clustered(), CLASSES, none))
    if check_strategy(name, {}, wrap).needs_labelled:
        with pytest.raises(SelectionError, match="needs labelled rows"):
            select(name, budget=4, seed=0, wrap=wrap, **inputs)
    else:
        assert_valid(select(name, budget=4, seed=0, wrap=wrap, **inputs), 4, none)


@every_plan
@pytest.mark.parametrize("case", ["duplicates", "constant", "float16", "one_class", "certain"])
def test_degenerate_pools_are_no_trouble(pool_inputs, name, wrap, case):
    features = clustered()
    if case == "duplicates":
        features = features[np.arange(ROWS) // 6 * 6]
    elif case == "constant":
        features = np.ones_like(features)
    elif case == "float16":
        features = features.astype(np.float16)
    full = pool_inputs(features, 1 if case == "one_class" else CLASSES, LABELLED)
    if case == "certain":
        full["probabilities"] = np.eye(CLASSES, dtype=np.float32)[np.arange(ROWS) % CLASSES]
        full["members"] = [full["probabilities"]] * 3
    inputs = needed(name, wrap, full)
    for budget in (9, ROWS - len(LABELLED)):
        assert_valid(select(name, budget=budget, seed=0, wrap=wrap, **inputs), budget, LABELLED)


@every_plan
def test_picks_do_not_depend_on_how_rows_are_sharded(pool_inputs, name, wrap):
    inputs = needed(name, wrap, pool_inputs(clustered(), CLASSES, LABELLED))
    sizes = [1, 20, 7, 32]
    sharded = {
        key: Shards(value, sizes) if key in ("features", "raw_features", "probabilities") else value
        for key, value in inputs.items()
    }
    if "members" in inputs:
        sharded["members"] = [Shards(member, sizes) for member in inputs["members"]]
    np.testing.assert_array_equal(
        select(name, budget=8, seed=1, wrap=wrap, **inputs), select(name, budget=8, seed=1, wrap=wrap, **sharded)
    )


@every_plan
def test_each_missing_input_is_named(pool_inputs, name, wrap):
    inputs = needed(name, wrap, pool_inputs(clustered(), CLASSES, LABELLED))
    for key in check_strategy(name, {}, wrap).inputs:
        rest = {other: value for other, value in inputs.items() if other != key}
        if key == "raw_features":
            rest.pop("features", None)
        with pytest.raises(SelectionError, match=f"^{key}: .*{name}.* needs it"):
            select(name, budget=3, seed=0, wrap=wrap, **{"size": ROWS, **rest})


@every_plan
def test_more_than_all_unlabelled_rows_is_a_budget_error(pool_inputs, name, wrap):
    inputs = needed(name, wrap, pool_inputs(clustered(), CLASSES, LABELLED))
    with pytest.raises(BudgetError, match="55"):
        select(name, budget=56, seed=0, wrap=wrap, **inputs)


@pytest.mark.parametrize("name", [name for name, info in strategies().items() if info.score is not None])
def test_ranking_strategies_pick_the_same_rows_of_a_permuted_pool(pool_inputs, name):
    inputs = needed(name, (), pool_inputs(clustered(), CLASSES, LABELLED))
    order = np.random.default_rng(3).permutation(ROWS)
    place = np.argsort(order)
    permuted = {
        **{key: value[order] for key, value in inputs.items() if key in ("features", "probabilities")},
        "labelled": place[LABELLED],
    }
    if "members" in inputs:
        permuted["members"] = [member[order] for member in inputs["members"]]
    np.testing.assert_array_equal(
        order[select(name, budget=9, seed=0, **permuted)], select(name, budget=9, seed=0, **inputs)
    )


@every_plan
def test_bad_numbers_are_refused(pool_inputs, name, wrap):
    inputs = needed(name, wrap, pool_inputs(clustered(), CLASSES, LABELLED))
    for key in ("features", "probabilities"):
        if key in inputs:
            broken = inputs[key].copy()
            broken[11, 1] = np.nan
            with pytest.raises(SelectionError, match=f"^{key}: .*row 11"):
                select(name, budget=3, seed=0, wrap=wrap, **{**inputs, key: broken})


def test_every_record_is_complete():
    for name, info in strategies().items():
        assert info.name == name
        assert info.summary.endswith(".")
        assert info.paper
        assert "O(" in info.complexity
        assert ("features" in info.inputs) == (info.representation is not None)
        assert all(field.description for field in info.options.model_fields.values()), name
    assert {name for name, info in strategies().items() if info.cold_start} >= {"random"}


def test_array_rows_are_read_only_views_without_copies():
    array = clustered()
    assert np.shares_memory(ArrayRows(array).span(3, 40), array)
