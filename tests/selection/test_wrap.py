"""Wrappers: where the picks of the strategy inside may come from."""

from __future__ import annotations

import gc
import sys

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from asvp.errors import SelectionError
from asvp.selection import ArrayRows, check_strategy, select
from asvp.selection.geometry import neighbours as neighbours_module
from asvp.selection.wrappers import balanced_shares

ROWS = 200


@pytest.fixture
def inputs(pool_inputs):
    features = np.random.default_rng(0).normal(size=(ROWS, 6)).astype(np.float32)
    full = pool_inputs(features, 4, np.array([5, 60, 61]))
    return {key: full[key] for key in ("features", "probabilities", "labelled")}


def test_without_choice_a_wrapper_changes_nothing(inputs):
    plain = select("margin", budget=9, seed=0, **inputs)
    for wrap in ({"subsample": {"rows": ROWS}}, {"partition": {"parts": 1}}):
        np.testing.assert_array_equal(select("margin", budget=9, seed=0, wrap=[wrap], **inputs), plain)


def test_subsampled_margin_is_margin_on_the_sample(inputs):
    picks = select("margin", budget=10, seed=0, wrap=[{"subsample": {"rows": 20}}], **inputs)
    free = np.setdiff1d(np.arange(ROWS), inputs["labelled"])
    sample = np.random.default_rng(0).permutation(free)[:20]
    order = select("margin", budget=ROWS - 3, seed=0, **inputs)
    assert picks.tolist() == [row for row in order if row in sample][:10]


def test_neighbours_restrict_to_the_nearest_of_labelled_rows(inputs):
    unit = inputs["features"] / np.linalg.norm(inputs["features"], axis=1, keepdims=True)
    near = NearestNeighbors(n_neighbors=7).fit(unit).kneighbors(unit[inputs["labelled"]], return_distance=False)
    candidates = set(near.ravel().tolist()) - set(inputs["labelled"].tolist())
    raw = {**inputs, "raw_features": inputs["features"]}
    picks = select("random", budget=len(candidates), seed=0, wrap=[{"neighbours": {"k": 7}}], **raw)
    assert set(picks.tolist()) == candidates
    more = select("random", budget=len(candidates) + 1, seed=0, wrap=[{"neighbours": {"k": 7}}], **raw)
    assert len(set(more.tolist())) == len(candidates) + 1


def test_an_index_is_built_once_for_one_set_of_features(inputs, monkeypatch):
    built = []
    build = neighbours_module._build
    monkeypatch.setattr(neighbours_module, "_build", lambda features: built.append(1) or build(features))

    class Unhashable(ArrayRows):
        __hash__ = None

    rows = Unhashable(inputs["features"])
    held = len(neighbours_module._indices)
    for seed in range(3):
        select("random", budget=3, seed=seed, raw_features=rows, labelled=[4], wrap=["neighbours"])
    assert len(built) == 1
    del rows
    gc.collect()
    assert len(neighbours_module._indices) == held


def test_an_inverted_file_finds_most_true_neighbours(monkeypatch):
    monkeypatch.setattr(neighbours_module, "_SMALL", 100)
    rng = np.random.default_rng(0)
    features = (rng.normal(size=(50, 8))[rng.integers(0, 50, size=3000)] + 0.3 * rng.normal(size=(3000, 8))).astype(
        "f4"
    )
    labelled = np.arange(20)
    found = neighbours_module.neighbours_of(ArrayRows(features), labelled, 10, 1)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    true = NearestNeighbors(n_neighbors=10).fit(unit).kneighbors(unit[labelled], return_distance=False)
    wanted = set(true.ravel().tolist()) - set(labelled.tolist())
    assert len(wanted & set(found.tolist())) > 0.9 * len(wanted)


def test_neighbours_without_faiss_say_what_to_install(inputs, monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(SelectionError, match=r"^neighbours: .*pip install 'asvp\[neighbours\]'"):
        select("random", budget=3, seed=0, raw_features=inputs["features"], labelled=[4], wrap=["neighbours"])


def test_class_balance_evens_out_predicted_classes(inputs):
    predicted = inputs["probabilities"].argmax(axis=1)
    picks = select("margin", budget=40, seed=0, wrap=["class_balance"], **inputs)
    counts = np.bincount(predicted[np.concatenate([picks, inputs["labelled"]])], minlength=4)
    free = np.setdiff1d(np.arange(ROWS), inputs["labelled"])
    full = np.bincount(predicted[free], minlength=4) == np.bincount(predicted[picks], minlength=4)
    assert np.ptp(counts[~full]) <= 1
    for label in range(4):
        order = [row for row in select("margin", budget=ROWS - 3, seed=0, **inputs) if predicted[row] == label]
        chosen = [row for row in picks if predicted[row] == label]
        assert chosen == order[: len(chosen)]


def test_shares_fill_the_smallest_class_first():
    assert balanced_shares(np.array([5, 0, 1]), np.array([9, 9, 2]), 6).tolist() == [0, 4, 2]
    assert balanced_shares(np.array([0, 0]), np.array([1, 9]), 4).tolist() == [1, 3]


def test_wrappers_nest_outermost_first(inputs):
    wrap = [{"partition": {"parts": 3}}, {"subsample": {"rows": 15}}]
    picks = select("badge", budget=12, seed=0, wrap=wrap, **inputs)
    assert len(set(picks.tolist())) == 12
    plan = check_strategy("badge", {}, wrap)
    assert [wrapper.name for wrapper, _ in plan.wrappers] == ["partition", "subsample"]
    assert plan.wrappers[0][1].parts == 3


def test_a_plan_knows_what_its_wrappers_need():
    plan = check_strategy("margin", {}, [{"neighbours": {"k": 5}}])
    assert plan.inputs == ("probabilities", "raw_features")
    assert plan.needs_labelled
    assert check_strategy("typiclust").cold_start
    assert check_strategy("typiclust", {}, ["subsample"]).cold_start
    assert not check_strategy("typiclust", {}, ["class_balance"]).cold_start
    assert not check_strategy("coreset").cold_start


def test_wrong_options_of_a_wrapper_are_named():
    with pytest.raises(SelectionError, match=r"^selection\.wrap\[0\]\.partition\.part: .*Did you mean parts"):
        check_strategy("margin", {}, [{"partition": {"part": 3}}], key="selection.")
    with pytest.raises(SelectionError, match=r"^selection\.wrap\[1\]\.neighbours\.k: .*greater than or equal to 1"):
        check_strategy("margin", {}, ["partition", {"neighbours": {"k": 0}}], key="selection.")
    with pytest.raises(SelectionError, match=r"^selection\.options\.radius: .*It means: Radius"):
        check_strategy("probcover", {"radius": "wide"}, key="selection.")
