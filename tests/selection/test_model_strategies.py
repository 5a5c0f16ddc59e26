"""Strategies that ask a model: BALD, DropQuery, ALFA-Mix, Cluster-Margin and BAIT against direct computations."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from asvp.selection import select

ROWS, DIM, CLASSES = 80, 5, 4


@pytest.fixture
def inputs(pool_inputs):
    features = np.random.default_rng(0).normal(size=(ROWS, DIM)).astype(np.float32)
    return pool_inputs(features, CLASSES, np.array([2, 9, 30, 31, 50, 77]))


def test_bald_is_the_mutual_information_of_prediction_and_member(inputs):
    members = np.array(inputs["members"], dtype=np.float64)
    information = entropy(members.mean(axis=0), axis=1) - entropy(members, axis=2).mean(axis=0)
    picks = select("bald", budget=ROWS, seed=0, members=inputs["members"])
    assert picks.tolist() == np.argsort(-information, kind="stable").tolist()


def test_bald_of_agreeing_members_picks_by_row_number(inputs):
    assert select("bald", budget=5, seed=0, members=[inputs["probabilities"]] * 2).tolist() == [0, 1, 2, 3, 4]


def test_drop_query_prefers_rows_that_change_in_most_passes(inputs):
    class Recorder:
        """Counts how often each row's class changes, by the order of calls."""

        def __init__(self) -> None:
            self.predicted: list[np.ndarray] = []

        def probabilities(self, features: np.ndarray) -> np.ndarray:
            found = inputs["head"].probabilities(features)
            self.predicted.append(found.argmax(axis=1))
            return found

    recorder = Recorder()
    picks = select("drop_query", budget=60, seed=0, features=inputs["features"], scorer=recorder, passes=4)
    plain, *dropped = recorder.predicted
    assert len(dropped) == 4
    changes = sum((found != plain).astype(int) for found in dropped)
    candidates = np.flatnonzero(changes > 2)
    assert 0 < len(candidates) < 60
    assert set(picks[: len(candidates)].tolist()) == set(candidates.tolist())
    rest = changes[picks[len(candidates) :]]
    assert rest.tolist() == sorted(rest.tolist(), reverse=True)


def test_alfa_mix_candidates_are_the_rows_whose_class_changes_when_mixed(inputs):
    keys = ("features", "labels", "labelled", "head")
    features = torch.tensor(inputs["features"], dtype=torch.float64)
    weight, bias = torch.tensor(inputs["head"].weight), torch.tensor(inputs["head"].bias)
    epsilon, changed = 1.5, set()
    for row in range(ROWS):
        point = features[row].clone().requires_grad_()
        logits = point @ weight.T + bias
        predicted = int(logits.argmax())
        torch.nn.functional.cross_entropy(logits[None], torch.tensor([predicted])).backward()
        for label in np.unique(inputs["labels"]):
            anchor = features[inputs["labelled"][inputs["labels"] == label]].mean(dim=0)
            limit = epsilon / DIM**0.5
            towards = anchor - features[row]
            ratio = (limit * towards.norm() * point.grad / point.grad.norm() / towards).clamp(1e-8, limit)
            mixed = ratio * anchor + (1 - ratio) * features[row]
            if int((mixed @ weight.T + bias).argmax()) != predicted:
                changed.add(row)
    changed -= set(inputs["labelled"].tolist())
    assert 3 < len(changed) < ROWS - 10
    picks = select("alfa_mix", budget=ROWS - 6, seed=0, epsilon=epsilon, **{key: inputs[key] for key in keys})
    assert set(picks[: len(changed)].tolist()) == changed


def test_cluster_margin_takes_small_clusters_of_uncertain_rows_first():
    rng = np.random.default_rng(0)
    sizes = [4, 12, 24]
    features = np.concatenate(
        [10 * np.eye(3)[[group]] + 0.1 * rng.normal(size=(size, 3)) for group, size in enumerate(sizes)]
    )
    features = np.concatenate([features, rng.normal(size=(60, 3))]).astype(np.float32)
    uncertain = np.full((40, 2), 0.5)
    probabilities = np.concatenate([uncertain, np.repeat([[0.99, 0.01]], 60, axis=0)])
    picks = select(
        "cluster_margin", budget=8, seed=0, features=features, probabilities=probabilities, candidates=5, clusters=3
    )
    groups = np.searchsorted(np.cumsum(sizes), picks, side="right")
    assert groups.tolist() == [0, 1, 2, 0, 1, 2, 0, 1]


def plain_bait(vectors: np.ndarray, labelled: np.ndarray, budget: int, ridge: float, oversample: float) -> list[int]:
    """Forward-backward greedy on tr(M^-1 F) with an inverse for every candidate."""
    fisher = vectors.T @ vectors / len(vectors)

    def loss(rows: list[int]) -> float:
        chosen = vectors[rows]
        return float(np.trace(np.linalg.inv(ridge * np.eye(vectors.shape[1]) + chosen.T @ chosen) @ fisher))

    known = labelled.tolist()
    picks: list[int] = []
    for _ in range(int(oversample * budget)):
        free = [row for row in range(len(vectors)) if row not in known and row not in picks]
        picks.append(min(free, key=lambda row: loss([*known, *picks, row])))
    while len(picks) > budget:
        worst = min(picks, key=lambda row: loss([*known, *(other for other in picks if other != row)]))
        picks.remove(worst)
    return picks


@pytest.mark.parametrize("rank", [DIM, 128])
def test_bait_is_the_forward_backward_greedy_with_full_inverses(inputs, rank):
    largest = inputs["probabilities"].max(axis=1).astype(np.float64)
    vectors = np.sqrt(largest * (1 - largest))[:, None] * inputs["features"]
    picks = select(
        "bait",
        budget=9,
        seed=0,
        rank=rank,
        ridge=0.1,
        **{k: inputs[k] for k in ("features", "probabilities", "labelled")},
    )
    assert picks.tolist() == plain_bait(vectors, inputs["labelled"], 9, 0.1, 2.0)
