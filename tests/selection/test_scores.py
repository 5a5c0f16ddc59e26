"""Ranking strategies against their definitions, and the merge of ranked parts."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asvp.selection import select, strategies
from asvp.selection.pool.pool import Pool
from asvp.selection.pool.ranking import best_rows, merge_best
from asvp.selection.rows import ArrayRows
from asvp.selection.strategies.scores import entropies, margins

P = np.array([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25], [0.8, 0.1, 0.1], [0.34, 0.33, 0.33], [1.0, 0.0, 0.0]])


def test_scores_follow_their_definitions():
    for row in P:
        ordered = sorted(row, reverse=True)
        [block] = Pool(1, np.empty(0, dtype=np.int64), probabilities=ArrayRows(row[None])).blocks()
        info = strategies()
        assert info["least_confidence"].score(block)[0] == pytest.approx(-ordered[0])
        assert info["margin"].score(block)[0] == pytest.approx(-(ordered[0] - ordered[1]))
        assert info["entropy"].score(block)[0] == pytest.approx(-sum(p * math.log(p) for p in row if p > 0))


@pytest.mark.parametrize(
    ("name", "order"),
    [("least_confidence", [3, 1, 0, 2, 4]), ("margin", [3, 1, 0, 2, 4]), ("entropy", [3, 1, 0, 2, 4])],
)
def test_picks_come_in_order_of_uncertainty(name, order):
    assert select(name, budget=5, seed=0, probabilities=P).tolist() == order


def test_rows_of_certainty_are_picked_last_and_zero_probabilities_are_no_nan():
    assert entropies(np.array([[1.0, 0.0], [0.5, 0.5]])).tolist() == [0.0, pytest.approx(math.log(2))]


def test_one_class_has_a_margin():
    assert margins(np.ones((3, 1))).tolist() == [1, 1, 1]


@pytest.mark.parametrize("name", ["least_confidence", "margin", "entropy"])
def test_ties_go_to_the_lower_row_number(name):
    tied = np.repeat(P[[2, 0]], [4, 4], axis=0)[[0, 4, 1, 5, 2, 6, 3, 7]]
    assert select(name, budget=6, seed=0, probabilities=tied, labelled=[3]).tolist() == [1, 5, 7, 0, 2, 4]


def test_random_picks_depend_on_the_seed_and_the_labelled_rows_only():
    first = select("random", budget=20, seed=4, size=100)
    np.testing.assert_array_equal(first, select("random", budget=20, seed=4, features=np.zeros((100, 2))))
    assert select("random", budget=20, seed=5, size=100).tolist() != first.tolist()


def test_random_picks_are_uniform():
    counts = np.bincount([select("random", budget=1, seed=seed, size=4, labelled=[2])[0] for seed in range(3000)])
    assert counts[2] == 0
    np.testing.assert_allclose(counts[[0, 1, 3]] / 3000, 1 / 3, atol=0.04)


@dataclass
class Scored:
    """A block that knows the scores of its rows."""

    first: int
    scores: np.ndarray

    @property
    def start(self) -> int:
        return self.first

    def __len__(self) -> int:
        return len(self.scores)


@given(
    scores=st.lists(st.integers(0, 5), min_size=1, max_size=60),
    cuts=st.lists(st.integers(0, 60), max_size=12),
    budget=st.integers(1, 12),
)
def test_merged_parts_equal_one_sort_of_everything(scores, cuts, budget):
    values = np.array(scores, dtype=float)
    excluded = values == 3
    bounds = sorted({0, len(values), *(cut for cut in cuts if cut < len(values))})
    blocks = [Scored(low, values[low:high]) for low, high in itertools.pairwise(bounds)]
    whole, _ = best_rows(blocks, lambda block: block.scores, excluded, budget)
    parts = [best_rows([block], lambda block: block.scores, excluded, budget) for block in blocks]
    rows, _ = merge_best(parts, budget)
    assert whole.tolist() == rows.tolist()
    wanted = sorted((row for row in range(len(values)) if not excluded[row]), key=lambda row: (-values[row], row))
    assert rows.tolist() == wanted[:budget]
