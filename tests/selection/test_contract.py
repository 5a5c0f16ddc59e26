"""What every registered strategy and every wrapper promises; the promises themselves are `asvp.selection.testing`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from asvp.errors import SelectionError
from asvp.selection import ArrayRows, select, strategies, wrappers
from asvp.selection.testing import CLASSES, LABELLED, PROMISES, clustered, make_inputs
from asvp.selection.testing import picks_distinct_unlabelled_rows_and_repeats_them_with_the_seed as repeats

PLANS = [(name, ()) for name in strategies()]
PLANS += [("random", (name,)) for name in wrappers()]
PLANS += [("margin", (name,)) for name in wrappers()]
NAMES = [name if not wrap else f"{name}-in-{wrap[0]}" for name, wrap in PLANS]


@pytest.mark.parametrize(("name", "wrap"), PLANS, ids=NAMES)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_every_strategy_keeps_every_promise(name, wrap, promise):
    promise(name, wrap)


def test_every_name_is_that_of_its_record():
    assert all(info.name == name for name, info in strategies().items())
    assert strategies()["random"].cold_start


def test_array_rows_are_read_only_views_without_copies():
    array = clustered()
    assert np.shares_memory(ArrayRows(array).span(3, 40), array)


def test_scores_are_those_of_the_picks_and_need_a_strategy_that_has_them():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.55, 0.45], [0.2, 0.8]])
    picks, scores = select("margin", budget=3, seed=0, probabilities=probabilities, labelled=[2], return_scores=True)
    assert picks.tolist() == [1, 3, 0]
    np.testing.assert_allclose(scores, [-0.2, -0.6, -0.8])
    picks, scores = select(
        "margin",
        budget=2,
        seed=0,
        probabilities=probabilities,
        among=[0, 3],
        wrap=["subsample"],
        return_scores=True,
    )
    assert picks.tolist() == [3, 0]
    np.testing.assert_allclose(scores, [-0.6, -0.8])
    with pytest.raises(SelectionError, match=r"return_scores: gives no scores.*margin"):
        select("coreset", budget=1, seed=0, features=clustered(), return_scores=True)


@pytest.mark.parametrize(
    ("candidates", "message"),
    [([1, 1], "among: names a row twice"), ([60], "among: is not a row"), ([0.5], "among: are no row")],
)
def test_candidates_that_are_no_rows_are_refused(candidates, message):
    with pytest.raises(SelectionError, match=message):
        select("random", budget=1, seed=0, size=60, among=candidates)


def test_a_strategy_that_breaks_a_promise_is_caught():
    def first_rows(pool, budget, options, rng):
        return np.arange(budget)

    broken = replace(strategies()["random"], name="first_rows", run=first_rows)
    with pytest.raises(AssertionError, match="a labelled row was picked"):
        repeats(broken)

    def global_draw(pool, budget, options, rng):
        return np.random.permutation(pool.unlabelled())[:budget]

    with pytest.raises(AssertionError, match=r"other rows|global random state"):
        repeats(replace(broken, run=global_draw))


def test_inputs_of_the_contract_are_those_of_select():
    inputs = make_inputs(clustered(), CLASSES, LABELLED)
    assert set(inputs) > {"features", "probabilities", "members", "labels", "head", "scorer"}
