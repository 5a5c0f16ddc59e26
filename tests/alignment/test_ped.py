"""Potential Energy Decline against a plain loop over pairs of classes."""

from __future__ import annotations

import tracemalloc
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asvp.alignment import logme, logme_ped, ped
from asvp.errors import DataError


def by_plain_loops(
    features: np.ndarray,
    labels: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray,
    factor: float = 0.6,
    time_step: float = 0.1,
    stiffness: float = 1.0,
    max_steps: int = 6,
    exit_ratio: float = 0.5,
) -> np.ndarray:
    """Row by row, pair by pair, with the class statistics taken anew in every step."""
    rows = np.array(features, dtype=np.float64)
    std = np.maximum(std, 1e-3)
    first = None
    for _ in range(max_steps):
        standard = (rows - mean) / std
        present = sorted(set(labels.tolist()))
        means = {c: standard[labels == c].mean(axis=0) for c in present}
        radii = {c: np.sqrt(standard[labels == c].var(axis=0).sum()) for c in present}
        push = {}
        for c in present:
            push[c] = np.zeros(rows.shape[1])
            for e in present:
                apart = means[c] - means[e]
                distance = np.linalg.norm(apart)
                overlap = max(factor * (radii[c] + radii[e]) - distance, 0.0)
                if distance > 1e-12:
                    push[c] += apart / distance * min(0.5 * time_step**2 * stiffness * overlap, overlap)
        movement = sum(np.abs(push[c]).sum() for c in present)
        first = movement if first is None else first
        if movement <= exit_ratio * first:
            break
        for row, label in enumerate(labels.tolist()):
            rows[row] += push[label] * std
    return rows


def sample(rows: int, dim: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows) * 3 - 2
    pool = rng.standard_normal((200, dim)) * rng.uniform(0.1, 3.0, dim) + rng.standard_normal(dim)
    features = pool[:rows] + 0.3 * rng.standard_normal((3 * classes, dim))[labels + 2]
    return features, labels, pool.mean(axis=0), pool.std(axis=0)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 60), dim=st.integers(1, 12), classes=st.integers(1, 9), seed=st.integers(0, 999))
def test_moves_rows_as_the_plain_loop_does(rows: int, dim: int, classes: int, seed: int) -> None:
    features, labels, mean, std = sample(rows, dim, classes, seed)
    expected = by_plain_loops(features, labels, mean, std)
    np.testing.assert_allclose(ped(features, labels, mean, std), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (("radius_factor",), (0.3,)),
        (("time_step", "stiffness"), (0.5, 3.0)),
        (("max_steps",), (1,)),
        (("max_steps",), (0,)),
        (("max_steps", "exit_ratio", "time_step"), (50, 0.2, 0.3)),
        (("time_step", "exit_ratio"), (2.0, 0.0)),
    ],
)
def test_every_parameter_means_what_it_means_in_the_plain_loop(names: tuple[str, ...], values: tuple) -> None:
    features, labels, mean, std = sample(80, 10, 6, 1)
    options = dict(zip(names, values, strict=True))
    plain = {"factor" if name == "radius_factor" else name: value for name, value in options.items()}
    expected = by_plain_loops(features, labels, mean, std, **plain)
    np.testing.assert_allclose(ped(features, labels, mean, std, **options), expected, rtol=1e-9, atol=1e-9)


def test_motion_stops_before_a_step_that_has_calmed_down() -> None:
    features, labels, mean, std = sample(80, 10, 6, 1)
    options = {"time_step": 0.6, "exit_ratio": 0.5}
    moves = [ped(features, labels, mean, std, max_steps=steps, **options) for steps in range(8)]
    made = [not np.array_equal(before, after) for before, after in pairwise(moves)]
    assert made[0]
    assert not made[-1]
    assert made == sorted(made, reverse=True)


def test_blocks_of_pairs_give_the_result_of_one_block(monkeypatch: pytest.MonkeyPatch) -> None:
    features, labels, mean, std = sample(120, 9, 20, 2)
    whole = ped(features, labels, mean, std)
    monkeypatch.setattr(import_module("asvp.alignment.ped"), "_PAIR_VALUES", 45)
    monkeypatch.setattr("asvp.alignment.labelled._BLOCK_VALUES", 50)
    np.testing.assert_allclose(ped(features, labels, mean, std), whole, rtol=1e-10, atol=1e-12)


def test_many_classes_need_no_array_over_pairs_and_dimensions() -> None:
    classes, dim = 400, 256
    rng = np.random.default_rng(8)
    features = rng.standard_normal((2 * classes, dim)).astype(np.float32)
    labels = np.arange(2 * classes) % classes
    mean, std = features.mean(axis=0), features.std(axis=0)
    tracemalloc.start()
    ped(features, labels, mean, std)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < classes * classes * dim * 8 / 10


def test_close_and_far_centres_keep_their_exact_directions() -> None:
    """Two classes a millionth apart, a third a million away: the close pair parts along its own tiny difference."""
    rng = np.random.default_rng(3)
    noise = rng.standard_normal((20, 4))
    noise -= noise.mean(axis=0)
    direction = np.array([0.6, 0.0, 0.8, 0.0])
    features = np.concatenate([noise, noise + 1e-6 * direction, noise + 1e6])
    labels = np.repeat([0, 1, 2], 20)
    moved = ped(features, labels, np.zeros(4), np.ones(4), max_steps=1)
    shift = moved - features
    overlap = 1.2 * np.sqrt(noise.var(axis=0).sum()) - 1e-6
    np.testing.assert_allclose(shift[20], 0.005 * overlap * direction, rtol=1e-3, atol=1e-9)
    np.testing.assert_allclose(shift[0], -shift[20], rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(shift[40], 0.0)


def test_classes_with_one_and_the_same_centre_stay() -> None:
    features = np.concatenate([np.eye(3), -np.eye(3), 2 * np.eye(3), -2 * np.eye(3)])
    labels = np.repeat([0, 1], 6)
    np.testing.assert_array_equal(ped(features, labels, np.zeros(3), np.ones(3)), features)


def test_dimensions_without_spread_are_floored_not_divided_by_zero() -> None:
    features, labels, mean, std = sample(50, 6, 4, 4)
    features[:, 2], mean[2], std[2] = 1.5, 1.5, 0.0
    moved = ped(features, labels, mean, std)
    assert np.isfinite(moved).all()
    np.testing.assert_allclose(moved, by_plain_loops(features, labels, mean, std), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    ("given_kind", "kind"), [(np.float16, np.float32), (np.float32, np.float32), (np.float64, np.float64)]
)
def test_result_is_float32_unless_the_features_are_float64_and_the_input_stays(given_kind: type, kind: type) -> None:
    features, labels, mean, std = sample(50, 6, 4, 5)
    features = features.astype(given_kind)
    before = features.copy()
    moved = ped(features, labels, mean.astype(np.float32), std.astype(np.float32))
    assert moved.dtype == kind
    np.testing.assert_array_equal(features, before)
    np.testing.assert_allclose(moved, by_plain_loops(features, labels, mean, std), rtol=1e-4, atol=1e-4)


def test_logme_ped_is_logme_of_the_moved_features_and_higher_for_overlapping_classes() -> None:
    features, labels, mean, std = sample(150, 12, 4, 6)
    assert logme_ped(features, labels, mean, std) == logme(ped(features, labels, mean, std), labels)
    assert logme_ped(features, labels, mean, std) > logme(features, labels)


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"mean": np.zeros(5)}, "mean"),
        ({"std": np.ones((6, 1))}, "std"),
        ({"std": np.full(6, np.nan)}, "std"),
        ({"labels": np.zeros(3, int)}, "labels"),
        ({"features": np.full((50, 6), np.nan)}, "features"),
        ({"time_step": -0.1}, "time_step"),
        ({"radius_factor": float("nan")}, "radius_factor"),
    ],
)
def test_bad_input_is_a_data_error_that_names_the_argument(changes: dict, key: str) -> None:
    features, labels, mean, std = sample(50, 6, 4, 7)
    arguments = {"features": features, "labels": labels, "mean": mean, "std": std, **changes}
    with pytest.raises(DataError) as caught:
        ped(**arguments)
    assert caught.value.key == key
    assert caught.value.mend


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("radius_factor", "0.6"),
        ("radius_factor", -0.1),
        ("time_step", None),
        ("stiffness", np.nan),
        ("stiffness", True),
        ("max_steps", 2.0),
        ("max_steps", np.inf),
        ("exit_ratio", [0.5]),
        ("mean", ["a", "b"]),
        ("mean", np.ma.masked_equal([0.0, 1.0], 0.0)),
        ("std", np.ones(3)),
        ("std", [1.0, np.inf]),
        ("std", None),
    ],
)
def test_arguments_of_a_wrong_type_are_data_errors_with_their_key(key: str, value: Any) -> None:
    given = {"mean": np.zeros(2), "std": np.ones(2), key: value}
    with pytest.raises(DataError) as caught:
        ped(np.eye(2), np.array([0, 1]), **given)
    assert caught.value.key == key
    assert caught.value.mend
