"""Whatever is passed to the Python API of selection: it works as its plain form does, or is refused with its key."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

from asvp.errors import AsvpError, BudgetError, SelectionError
from asvp.selection import check_strategy, make_pool, run_plan, select, strategies
from asvp.selection.contract import BrokenPromiseError
from asvp.selection.pool.sharded import even_owners, in_parts
from asvp.selection.pool.spaces import EuclideanSpace
from asvp.selection.rows import ArrayRows
from asvp.selection.strategies.typiclust import typicalities
from asvp.selection.testing import CLASSES, LABELLED, ROWS, clustered, make_inputs, needed

PROBABILITIES = np.full((10, 2), 0.5)


class NoArray:
    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise RuntimeError("what this raises\nis its own")


class ShortRows:
    """FeatureRows that give fewer rows than they are asked for."""

    dim = 2

    def __len__(self) -> int:
        return 10

    def span(self, start: int, stop: int) -> np.ndarray:
        return PROBABILITIES[start : stop - 1]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        return PROBABILITIES[rows]


class WrongScorer:
    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def probabilities(self, features: np.ndarray) -> Any:
        return self._answer


class Layer:
    def __init__(self, weight: Any, bias: Any) -> None:
        self.weight, self.bias = weight, bias


MASKED = np.ma.masked_greater(np.arange(20.0).reshape(10, 2) / 100, 0.1)
NOT_A_LIST = (None, 3, "partition", b"partition", {"partition": {"parts": 4, "nonsense": 9}})
NO_MATRIX = (
    5,
    "abc",
    [1.0, 2.0],
    [[1.0, 2.0], [1.0]],
    np.zeros((10, 2), complex),
    np.zeros((10, 2), object),
    np.zeros((10, 2), bool),
    np.zeros((10, 2), [("a", float)]),
    np.zeros((10, 2), "datetime64[s]"),
    np.zeros((10, 2, 1)),
    np.float64(3.0),
    {"a": 1},
    torch.zeros((10, 2), requires_grad=True),
    torch.zeros((10, 2), dtype=torch.bfloat16),
    NoArray(),
    ArrayRows,
    ShortRows(),
    MASKED,
    list(MASKED),
)
NO_ROWS = (None, 5, "ab", [0.5], [[1]], [True, False], {1, 2}, [10], [-1], [1, 1], np.ma.masked_equal([1, 2], 2))

WRONG: dict[str, tuple[Any, ...]] = {
    "strategy": (None, 3, b"margin", ["margin"], {}, "", "no such", "a" * 500, "os:path"),
    "budget": (None, 0, -1, 1.0, True, "1", [1], np.float64(1)),
    "seed": (None, -1, 0.5, True, "0", [0]),
    "features": NO_MATRIX,
    "probabilities": NO_MATRIX,
    "raw_features": NO_MATRIX,
    "labelled": NO_ROWS,
    "among": NO_ROWS[1:],
    "labels": (5, "ab", [0.5], [-1], ["a"], [[0]], [0, 1], [2], [2**62], np.ma.masked_equal([1], 1)),
    "members": (None, 5, "ab", {}, [None], [5], [PROBABILITIES, np.full((10, 3), 1 / 3)], [PROBABILITIES[:9]]),
    "head": (5, "ab", {}, Layer("a", "b"), Layer(np.ones((2, 2)), None), Layer(np.full((2, 2), np.nan), np.ones(2))),
    "scorer": (5, "ab", {}, np.ones(3)),
    "size": (0, -3, 10.0, True, "10", [10], 9),
    "wrap": NOT_A_LIST,
    "device": (None, 3, "", "nonsense", "cuda:99", "meta", "mps", "xla", "cpu:", ["cpu"]),
    "return_scores": (None, 1, "yes"),
}


@pytest.mark.parametrize(
    ("key", "value"),
    [(key, value) for key, values in WRONG.items() for value in values],
    ids=lambda value: str(value)[:30],
)
def test_an_argument_of_a_wrong_type_or_value_is_refused_with_its_key(key: str, value: Any) -> None:
    given: dict[str, Any] = {
        "strategy": "margin",
        "budget": 1,
        "seed": 0,
        "probabilities": PROBABILITIES,
        "features": PROBABILITIES,
        "labelled": [3],
        "labels": [1],
        key: value,
    }
    if key in ("features", "raw_features"):
        # Rows are read by the strategies that look at them.
        given |= {"strategy": "coreset_self"}
        if key == "raw_features":
            given |= {"strategy": "margin", "wrap": [{"neighbours": {"k": 2}}]}
    with pytest.raises(AsvpError) as caught:
        select(given.pop("strategy"), **given)
    assert caught.value.exit_code == 2
    # A size that does not fit is told of the first matrix that has another.
    named = "features" if (key, value) == ("size", 9) else key
    assert str(caught.value.key).partition("[")[0].partition(".")[0] == named


@pytest.mark.parametrize("answer", [5, "ab", np.ones((3, 2)), np.full((60, 2), np.nan), np.ones(60), None])
def test_a_scorer_that_answers_wrongly_is_refused(answer: Any) -> None:
    with pytest.raises(SelectionError, match=r"^scorer: "):
        select("drop_query", budget=3, seed=0, features=clustered(), scorer=WrongScorer(answer))


@pytest.mark.parametrize("options", [{"parts": True}, {"parts": "many"}, {"parts": 2.5}, {"parts": None}, {"rows": -1}])
def test_options_of_a_wrong_type_are_refused_with_their_key(options: dict[str, Any]) -> None:
    with pytest.raises(SelectionError, match=rf"^{next(iter(options))}: "):
        check_strategy("badge_partition", options)


def test_options_may_be_numbers_of_numpy() -> None:
    plan = check_strategy("badge_partition", {"parts": np.int64(3), "rows": np.int32(7)})
    assert plan.options.model_dump() == {"parts": 3, "rows": 7}


@pytest.mark.parametrize("options", [5, "abc", ["parts"], [("parts", 3)]])
def test_options_are_a_mapping(options: Any) -> None:
    with pytest.raises(SelectionError, match=r"^selection\.options: are no mapping"):
        check_strategy("margin", options, key="selection.")


def test_a_plan_and_a_pool_are_made_by_their_functions() -> None:
    plan, pool = check_strategy("margin"), make_pool(probabilities=PROBABILITIES)
    with pytest.raises(SelectionError, match=r"^plan: is no Plan"):
        run_plan("margin", pool, budget=1, seed=0)  # type: ignore[arg-type]
    with pytest.raises(SelectionError, match=r"^pool: is no Pool"):
        run_plan(plan, PROBABILITIES, budget=1, seed=0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("picks", "words"),
    [
        ([0, 1], "labelled row"),
        ([2, 2], "twice"),
        ([2, 10], "no row number"),
        ([-1, 2], "no row number"),
        ([2], "2 picks"),
        ([2.0, 3.0], "2 picks"),
        (None, "2 picks"),
    ],
)
def test_picks_of_a_strategy_are_held_against_its_promise(picks: Any, words: str) -> None:
    broken = replace(strategies()["random"], name="broken", run=lambda pool, budget, options, rng: picks)
    with pytest.raises(BrokenPromiseError, match=f"{words}.*broken"):
        select(broken, budget=2, seed=0, size=10, labelled=[0])


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "lists": lambda values: values.tolist(),
    "big-endian": lambda values: values.astype(values.dtype.newbyteorder(">")),
    "backwards": lambda values: values[::-1].copy()[::-1],
    "columns backwards": lambda values: values[:, ::-1].copy()[:, ::-1],
    "Fortran": np.asfortranarray,
    "every other row": lambda values: np.repeat(values, 2, axis=0)[::2],
    "read-only": lambda values: np.lib.stride_tricks.as_strided(values, writeable=False),
    "longdouble": lambda values: values.astype(np.longdouble),
    "float64": lambda values: values.astype(np.float64),
    "tensor": torch.from_numpy,
    "unmasked": lambda values: np.ma.array(values, mask=False),
    "rows": ArrayRows,
    "rows backwards": lambda values: ArrayRows(values[::-1].copy()[::-1]),
    "rows big-endian": lambda values: ArrayRows(values.astype(values.dtype.newbyteorder(">"))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", sorted(strategies()))
def test_an_array_in_another_form_gives_the_same_picks(name: str, form: str) -> None:
    plan = check_strategy(name)
    inputs = needed(plan, make_inputs(clustered(), CLASSES, LABELLED))
    other = {
        key: FORMS[form](value) if key in ("features", "probabilities", "raw_features") else value
        for key, value in inputs.items()
    }
    if "members" in inputs:
        other["members"] = [FORMS[form](member) for member in inputs["members"]]
    expected = select(name, budget=9, seed=3, **inputs)
    np.testing.assert_array_equal(select(name, budget=9, seed=3, **other), expected)


def test_row_numbers_and_labels_may_have_any_integer_type() -> None:
    inputs = make_inputs(clustered(), CLASSES, LABELLED)
    given = {key: inputs[key] for key in ("features", "labels", "head", "labelled")}
    expected = select("alfa_mix", budget=5, seed=0, **given)
    for kind in (">i4", "u1", "u8", "i2"):
        other = {**given, "labels": inputs["labels"].astype(kind), "labelled": LABELLED.astype(kind)[::-1][::-1]}
        np.testing.assert_array_equal(select("alfa_mix", budget=5, seed=0, **other), expected)
    with pytest.raises(BudgetError):
        select("random", budget=10**30, seed=10**30, size=5)


EUCLIDEAN = ["badge", "coreset_self", "typiclust", "activeft", "cluster_margin", "badge_partition"]


@pytest.mark.parametrize("parts", [0, 2])
@pytest.mark.parametrize(
    ("kind", "exponent"),
    [(np.float32, -80), (np.float32, -110), (np.float64, -700), (np.float64, -1000), (np.float32, 45), (np.float32, 0)],
)
@pytest.mark.parametrize("name", EUCLIDEAN)
def test_the_scale_of_the_features_does_not_change_the_picks(name: str, kind: type, exponent: int, parts: int) -> None:
    """Squares of such numbers underflow: rows would be equally far from each other, and come in row order."""
    features = np.round(clustered(5000 if parts else 300), 2).astype(kind)
    inputs = needed(check_strategy(name), make_inputs(features, CLASSES, LABELLED))
    expected = select(name, budget=12, seed=3, **inputs)
    scaled = {**inputs, "features": np.ldexp(features, exponent)}
    if not parts:
        np.testing.assert_array_equal(select(name, budget=12, seed=3, **scaled), expected)
    elif check_strategy(name).sharded:
        pool = make_pool(**scaled)
        sharded = in_parts(pool, even_owners(pool.size, parts))
        np.testing.assert_array_equal(run_plan(check_strategy(name), sharded, budget=12, seed=3), expected)


def test_rows_of_mixed_scales_have_directions_of_their_own() -> None:
    features = clustered(300).astype(np.float64)
    mixed = np.ldexp(features, np.random.default_rng(0).integers(-900, 40, size=(300, 1)))
    for name in ("typiclust", "activeft", "probcover"):
        np.testing.assert_array_equal(
            select(name, budget=12, seed=3, features=mixed), select(name, budget=12, seed=3, features=features)
        )
    wrap = [{"neighbours": {"k": 5}}]
    given = {"probabilities": np.random.default_rng(1).dirichlet(np.ones(4), 300), "labelled": LABELLED, "wrap": wrap}
    np.testing.assert_array_equal(
        select("margin", budget=12, seed=3, raw_features=mixed, **given),
        select("margin", budget=12, seed=3, raw_features=features, **given),
    )


@pytest.mark.parametrize("exponent", [-80, 45])
def test_bait_says_where_float32_does_not_hold_its_fourth_powers(exponent: int) -> None:
    inputs = needed(check_strategy("bait"), make_inputs(clustered(), CLASSES, LABELLED))
    with pytest.raises(SelectionError, match=r"^features: .*fourth powers"):
        select("bait", budget=3, seed=0, **{**inputs, "features": np.ldexp(clustered(), exponent)})


def test_numbers_beyond_float64_are_refused() -> None:
    features = np.ones((ROWS, 2), np.longdouble)
    features[7, 1] = np.finfo(np.longdouble).max
    with pytest.raises(SelectionError, match=r"not finite.*row 7"):
        select("coreset_self", budget=1, seed=0, features=features)


def test_badge_partition_is_badge_in_the_wrapper_partition() -> None:
    inputs = needed(check_strategy("badge"), make_inputs(clustered(), CLASSES, LABELLED))
    np.testing.assert_array_equal(
        select("badge_partition", budget=13, seed=4, parts=4, **inputs),
        select("badge", budget=13, seed=4, wrap=[{"partition": {"parts": 4}}], **inputs),
    )


def test_typicality_in_pieces_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    features = clustered(700)
    space, rows = EuclideanSpace(ArrayRows(features), unit=True), np.arange(5, 690)
    whole = typicalities(space, rows, 20)
    module = import_module("asvp.selection.strategies.typiclust")
    monkeypatch.setattr(module, "_ROWS_AT_ONCE", 100)
    monkeypatch.setattr(module, "_OTHERS_AT_ONCE", 64)
    np.testing.assert_allclose(typicalities(space, rows, 20), whole, rtol=1e-12)
    unit = features.astype(float) / np.linalg.norm(features.astype(float), axis=1, keepdims=True)
    apart = np.sort(np.linalg.norm(unit[rows][:, None] - unit[rows][None], axis=2), axis=1)[:, 1:21]
    np.testing.assert_allclose(whole, 1 / (apart.mean(axis=1) + 1e-5), rtol=1e-4)


class GatheredRows:
    """FeatureRows that remember the most rows they were asked for at once."""

    dim = 6
    most = 0

    def __init__(self, features: np.ndarray) -> None:
        self._features = features

    def __len__(self) -> int:
        return len(self._features)

    def span(self, start: int, stop: int) -> np.ndarray:
        return self._features[start:stop]

    def gather(self, rows: np.ndarray) -> np.ndarray:
        self.most = max(self.most, len(rows))
        return np.asarray(self._features[rows])


def test_typiclust_never_holds_a_cluster_whole() -> None:
    """Nor 1,024 doubles for each of its rows."""
    rows = GatheredRows(clustered(9000))
    space = EuclideanSpace(rows, unit=True)
    typicalities(space, np.arange(9000), 20)
    assert rows.most <= 2048
