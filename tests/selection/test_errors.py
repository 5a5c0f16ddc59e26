"""Wrong calls are refused before work starts, with the key and the mend."""

from __future__ import annotations

import numpy as np
import pytest

from asvp.errors import BudgetError, SelectionError
from asvp.selection import check_strategy, select

P = np.full((10, 2), 0.5)


def test_unknown_strategy_names_the_nearest():
    with pytest.raises(SelectionError, match=r"^selection\.strategy: is no strategy .*Did you mean margin\?"):
        check_strategy("margn", key="selection.")


def test_unknown_option_of_a_strategy_without_options():
    with pytest.raises(SelectionError, match=r"^selection\.options\.k: .*margin has no options"):
        check_strategy("margin", {"k": 3}, key="selection.")
    with pytest.raises(SelectionError, match=r"^k: is an unknown option"):
        select("margin", budget=1, seed=0, probabilities=P, k=3)


@pytest.mark.parametrize("entry", [{}, {"a": {}, "b": {}}, 3])
def test_a_wrapper_is_one_name_with_its_options(entry):
    with pytest.raises(SelectionError, match=r"^selection\.wrap\[0\]: is no wrapper with its options"):
        check_strategy("margin", {}, [entry], key="selection.")


@pytest.mark.parametrize("budget", [0, -1, 2.0, True, "3"])
def test_a_budget_is_a_whole_number_from_one(budget):
    with pytest.raises(SelectionError, match=r"^budget: "):
        select("margin", budget=budget, seed=0, probabilities=P)


def test_a_budget_beyond_the_unlabelled_rows():
    with pytest.raises(BudgetError, match=r"^budget: .* 8 that are unlabelled .*got 9"):
        select("margin", budget=9, seed=0, probabilities=P, labelled=[0, 1])


@pytest.mark.parametrize(
    ("labelled", "message"),
    [([10], "from 0 to 9"), ([-1], "from 0 to 9"), ([1, 1], "twice"), ([0.5], "row numbers"), ([[1]], "row numbers")],
)
def test_labelled_rows_are_row_numbers(labelled, message):
    with pytest.raises(SelectionError, match=f"^labelled: .*{message}"):
        select("margin", budget=1, seed=0, probabilities=P, labelled=labelled)


@pytest.mark.parametrize("labels", [[1], [0, -1], [0.5, 1.0]])
def test_labels_are_one_class_number_a_labelled_row(labels):
    with pytest.raises(SelectionError, match=r"^labels: "):
        select("margin", budget=1, seed=0, probabilities=P, labelled=[3, 4], labels=labels)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize(("number", "message"), [(np.nan, "not finite"), (-np.inf, "not finite"), (3e20, "beyond")])
def test_features_are_finite_and_can_be_squared(dtype, number, message):
    features = np.ones((3000, 2), dtype)
    with np.errstate(over="ignore"):
        features[2500, 1] = number
    with pytest.raises(
        SelectionError, match=f"^features: .*{message if dtype != 'float16' else 'not finite'}.*row 2500"
    ):
        select("coreset_self", budget=1, seed=0, features=features, labelled=[0])


@pytest.mark.parametrize(
    "probabilities",
    [np.full((10, 2), 0.9), np.array([[1.5, -0.5]] * 10), np.full((10, 2), np.nan)],
)
def test_probabilities_are_probabilities(probabilities):
    with pytest.raises(SelectionError, match=r"^probabilities: row 0 holds no probabilities"):
        select("margin", budget=1, seed=0, probabilities=probabilities)


@pytest.mark.parametrize("values", [np.zeros(10), np.zeros((10, 0)), np.array([["a"]] * 10), None])
def test_inputs_are_matrices(values):
    with pytest.raises(SelectionError, match=r"^probabilities: "):
        select("margin", budget=1, seed=0, probabilities=values, size=10)


def test_inputs_of_different_lengths():
    with pytest.raises(SelectionError, match=r"^probabilities: has other than the 9 rows of features"):
        select("margin", budget=1, seed=0, probabilities=P, features=np.zeros((9, 2)))


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(SelectionError, match=r"^seed: "):
        select("margin", budget=1, seed=seed, probabilities=P)
