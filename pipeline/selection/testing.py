"""What every strategy promises, as checks that its author can run: the same ones that hold the package's own.

    import pytest
    from asvp.selection.testing import PROMISES
    from mypackage.mine import STRATEGY

    @pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
    def test_contract(promise):
        promise(STRATEGY)

A promise takes a strategy (its record, or its name) and, as `wrap`, wrappers around it; a broken one raises
AssertionError. Needs no test framework.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from asvp.errors import BudgetError, SelectionError
from asvp.selection.choose import select
from asvp.selection.contract import BrokenPromiseError, Plan, StrategyInfo
from asvp.selection.registry import check_strategy
from asvp.selection.rows import Array

Strategy = StrategyInfo | str
Wrap = Iterable[Mapping[str, Any] | str]

ROWS, DIM, CLASSES = 60, 6, 4
LABELLED = np.array([3, 50, 17, 21, 8])


@dataclass(frozen=True)
class LinearHead:
    """A linear layer that serves as head and as scorer."""

    weight: Array
    bias: Array

    def probabilities(self, features: Array) -> Array:
        """Class probabilities (n, C) of features (n, D)."""
        logits = features.astype(np.float64) @ self.weight.T + self.bias
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray((odds / odds.sum(axis=1, keepdims=True)).astype(np.float32))


class ShardedRows:
    """FeatureRows in pieces of uneven sizes."""

    def __init__(self, array: Array, sizes: list[int]) -> None:
        self._array, self._sizes = array, sizes

    def __len__(self) -> int:
        return len(self._array)

    @property
    def dim(self) -> int:
        """Numbers in a row."""
        return int(self._array.shape[1])

    def span(self, start: int, stop: int) -> Array:
        """Rows `start` up to `stop`, put together of pieces."""
        ends = np.cumsum(self._sizes)
        pieces = [
            self._array[max(start, end - size) : min(stop, end)] for size, end in zip(self._sizes, ends, strict=True)
        ]
        return np.concatenate(pieces)

    def gather(self, rows: Array) -> Array:
        """The rows named."""
        return np.asarray(self._array[rows])


def clustered(rows: int = ROWS, seed: int = 0) -> Array:
    """Features (rows, DIM) float32 around one centre a class."""
    rng = np.random.default_rng(seed)
    centres = 3 * rng.normal(size=(CLASSES, DIM))
    return np.asarray((centres[np.arange(rows) % CLASSES] + rng.normal(size=(rows, DIM))).astype(np.float32))


def make_inputs(features: Array, classes: int, labelled: Array, seed: int = 0) -> dict[str, Any]:
    """All inputs of `select` for features (N, D), from a random linear model."""
    rng = np.random.default_rng(seed)
    head = LinearHead(rng.normal(size=(classes, features.shape[1])), rng.normal(size=classes) * 0.1)
    probabilities = head.probabilities(features)
    members = [
        LinearHead(head.weight + 0.3 * rng.normal(size=head.weight.shape), head.bias).probabilities(features)
        for _ in range(3)
    ]
    return {
        "features": features,
        "raw_features": features,
        "probabilities": probabilities,
        "members": members,
        "labels": probabilities.argmax(axis=1)[labelled].astype(np.int64),
        "labelled": labelled,
        "head": head,
        "scorer": head,
    }


def needed(plan: Plan, inputs: dict[str, Any]) -> dict[str, Any]:
    """Of the inputs only what a plan says it needs, and the labelled rows."""
    kept: dict[str, Any] = {key: inputs[key] for key in plan.inputs}
    if not any(key in kept for key in ("features", "probabilities", "members")):
        kept["size"] = len(inputs["features"])
    return {**kept, "labelled": inputs["labelled"]}


def assert_valid(picks: Array, budget: int, labelled: Array, rows: int = ROWS) -> None:
    """Picks are (budget,) int64: distinct numbers of unlabelled rows."""
    assert picks.dtype == np.int64, f"picks are {picks.dtype}, not int64"
    assert picks.shape == (budget,), f"{budget} picks were asked for, the shape is {picks.shape}"
    assert len(set(picks.tolist())) == budget, "a row was picked twice"
    assert picks.min() >= 0, "a pick is no row number"
    assert picks.max() < rows, "a pick is no row number"
    assert not set(picks.tolist()) & set(labelled.tolist()), "a labelled row was picked"


def picks_distinct_unlabelled_rows_and_repeats_them_with_the_seed(strategy: Strategy, wrap: Wrap = ()) -> None:
    """One pick, some, and all; inputs and the global random state stay as they were."""
    inputs = _inputs(strategy, wrap)
    before = {key: value.copy() for key, value in inputs.items() if isinstance(value, np.ndarray)}
    state = _global_random_state()
    for budget in (1, 7, ROWS - len(LABELLED)):
        picks = _select(strategy, budget=budget, seed=5, wrap=wrap, **inputs)
        assert_valid(picks, budget, LABELLED)
        again = _select(strategy, budget=budget, seed=5, wrap=wrap, **inputs)
        np.testing.assert_array_equal(picks, again, err_msg="another call with the seed picks other rows")
    for key, value in before.items():
        np.testing.assert_array_equal(inputs[key], value, err_msg=f"{key} was written to")
    same = np.array_equal(state, _global_random_state())
    assert same, "the global random state was used; draw from the generator that is passed"


def picks_without_labelled_rows_or_says_why_not(strategy: Strategy, wrap: Wrap = ()) -> None:
    """A record that names no need of labels is believed."""
    none = np.empty(0, dtype=np.int64)
    inputs = _inputs(strategy, wrap, labelled=none)
    if check_strategy(strategy, {}, wrap).needs_labelled:
        _refused(SelectionError, "needs labelled rows", strategy, wrap, budget=4, inputs=inputs)
    else:
        assert_valid(_select(strategy, budget=4, seed=0, wrap=wrap, **inputs), 4, none)


def bears_degenerate_pools(strategy: Strategy, wrap: Wrap = ()) -> None:
    """Copies of rows, one row many times, float16, a single class, probabilities of 0 and 1."""
    plan, plain = check_strategy(strategy, {}, wrap), clustered()
    cases = {
        "duplicates": make_inputs(plain[np.arange(ROWS) // 6 * 6], CLASSES, LABELLED),
        "constant": make_inputs(np.ones_like(plain), CLASSES, LABELLED),
        "float16": make_inputs(plain.astype(np.float16), CLASSES, LABELLED),
        "one class": make_inputs(plain, 1, LABELLED),
        "certain": make_inputs(plain, CLASSES, LABELLED),
    }
    certain = np.eye(CLASSES, dtype=np.float32)[np.arange(ROWS) % CLASSES]
    cases["certain"] |= {"probabilities": certain, "members": [certain] * 3}
    for inputs in cases.values():
        for budget in (9, ROWS - len(LABELLED)):
            picks = _select(strategy, budget=budget, seed=0, wrap=wrap, **needed(plan, inputs))
            assert_valid(picks, budget, LABELLED)


def does_not_depend_on_how_rows_are_sharded(strategy: Strategy, wrap: Wrap = ()) -> None:
    """The picks are those of one array."""
    inputs = _inputs(strategy, wrap)
    sizes = [1, 20, 7, 32]
    sharded: dict[str, Any] = {
        key: ShardedRows(value, sizes) if key in ("features", "raw_features", "probabilities") else value
        for key, value in inputs.items()
    }
    if "members" in inputs:
        sharded["members"] = [ShardedRows(member, sizes) for member in inputs["members"]]
    np.testing.assert_array_equal(
        _select(strategy, budget=8, seed=1, wrap=wrap, **inputs),
        _select(strategy, budget=8, seed=1, wrap=wrap, **sharded),
    )


def picks_among_candidates_only(strategy: Strategy, wrap: Wrap = ()) -> None:
    """As if no other row were unlabelled; more than there are candidates is too much."""
    inputs = _inputs(strategy, wrap)
    candidates = np.array([40, 2, 8, 31, 33, 12, 55, 3, 20, 21, 47])
    free = sorted(set(candidates.tolist()) - set(LABELLED.tolist()))
    for budget in (3, len(free)):
        picks = _select(strategy, budget=budget, seed=2, wrap=wrap, among=candidates, **inputs)
        assert_valid(picks, budget, LABELLED)
        assert set(picks.tolist()) <= set(free), "a row that is no candidate was picked"
    _refused(BudgetError, str(len(free)), strategy, wrap, budget=len(free) + 1, inputs={**inputs, "among": candidates})


def names_each_missing_input(strategy: Strategy, wrap: Wrap = ()) -> None:
    """What the record asks for is asked for by name."""
    inputs = _inputs(strategy, wrap)
    for key in check_strategy(strategy, {}, wrap).inputs:
        rest = {other: value for other, value in inputs.items() if other != key}
        if key == "raw_features":
            rest.pop("features", None)
        _refused(SelectionError, f"{key}: ", strategy, wrap, budget=3, inputs={"size": ROWS, **rest})


def refuses_more_than_all_unlabelled_rows(strategy: Strategy, wrap: Wrap = ()) -> None:
    """With a BudgetError that tells how many there are."""
    free = ROWS - len(LABELLED)
    _refused(BudgetError, str(free), strategy, wrap, budget=free + 1, inputs=_inputs(strategy, wrap))


def refuses_numbers_that_are_none(strategy: Strategy, wrap: Wrap = ()) -> None:
    """A NaN is found whatever rows are looked at, and its row is named."""
    inputs = _inputs(strategy, wrap)
    for key in ("features", "probabilities"):
        if key in inputs:
            broken = inputs[key].copy()
            broken[11, 1] = np.nan
            _refused(SelectionError, "row 11", strategy, wrap, budget=3, inputs={**inputs, key: broken})


def ranks_rows_wherever_they_stand(strategy: Strategy, wrap: Wrap = ()) -> None:
    """Strategies with a score pick the same rows of a permuted pool, by descending scores; others promise nothing."""
    if check_strategy(strategy, {}, wrap).info.score is None or tuple(wrap):
        return
    inputs = _inputs(strategy, wrap)
    order = np.random.default_rng(3).permutation(ROWS)
    permuted = {
        **{key: value[order] for key, value in inputs.items() if key in ("features", "probabilities")},
        "labelled": np.argsort(order)[LABELLED],
    }
    if "members" in inputs:
        permuted["members"] = [member[order] for member in inputs["members"]]
    picks, scores = _select(strategy, budget=9, seed=0, return_scores=True, **inputs)
    np.testing.assert_array_equal(order[_select(strategy, budget=9, seed=0, **permuted)], picks)
    assert scores.shape == (9,)
    assert (np.diff(scores) <= 0).all(), "picks do not come by descending scores"


def has_a_complete_record(strategy: Strategy, wrap: Wrap = ()) -> None:
    """What `asvp strategies` shows is there, and fits what the driver has to provide."""
    info = check_strategy(strategy, {}, wrap).info
    assert info.summary.endswith("."), "the summary is a sentence"
    assert info.paper, "name the paper, or write -"
    assert "O(" in info.complexity, "say what it costs: time O(...), memory O(...)"
    assert ("features" in info.inputs) == (info.representation is not None), (
        "`representation` says which features are wanted, exactly where `features` are"
    )
    for name, field in info.options.model_fields.items():
        assert field.description, f"the option {name} has no description"


PROMISES: tuple[Callable[..., None], ...] = (
    picks_distinct_unlabelled_rows_and_repeats_them_with_the_seed,
    picks_without_labelled_rows_or_says_why_not,
    bears_degenerate_pools,
    does_not_depend_on_how_rows_are_sharded,
    picks_among_candidates_only,
    names_each_missing_input,
    refuses_more_than_all_unlabelled_rows,
    refuses_numbers_that_are_none,
    ranks_rows_wherever_they_stand,
    has_a_complete_record,
)
"""All checks; each takes (strategy, wrap=())."""


def _inputs(strategy: Strategy, wrap: Wrap, labelled: Array = LABELLED) -> dict[str, Any]:
    return needed(check_strategy(strategy, {}, wrap), make_inputs(clustered(), CLASSES, labelled))


def _select(strategy: Strategy, **given: Any) -> Any:
    """As `select`; picks that it refuses are a broken promise."""
    try:
        return select(strategy, **given)
    except BrokenPromiseError as error:
        raise AssertionError(str(error)) from None


def _global_random_state() -> Array:
    state: Any = np.random.get_state()
    return np.array(state[1])


def _refused(
    kind: type[SelectionError], words: str, strategy: Strategy, wrap: Wrap, *, budget: int, inputs: dict[str, Any]
) -> None:
    try:
        _select(strategy, budget=budget, seed=0, wrap=wrap, **inputs)
    except kind as error:
        message = str(error)
    else:
        raise AssertionError(f"no {kind.__name__} with {words!r} was raised")
    assert words in message, f"the message lacks {words!r}: {message}"
