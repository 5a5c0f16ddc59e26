"""Which labels a refresh does not see, and what is made of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from asvp.alignment.verification import hold_out, judge


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=200).map(np.array),
    share=st.floats(0, 0.5),
    seed=st.integers(0, 2**31),
)
def test_a_share_of_every_class_is_held_out(labels: np.ndarray, share: float, seed: int) -> None:
    held = hold_out(labels, share, seed)
    assert held.sum() == round(share * len(labels))
    np.testing.assert_array_equal(held, hold_out(labels, share, seed))
    for label in np.unique(labels):
        asked = held.mean() * (labels == label).sum()
        assert abs(held[labels == label].sum() - asked) < 1 + 1e-9


def test_another_seed_holds_out_others() -> None:
    labels = np.arange(100) % 3
    assert (hold_out(labels, 0.2, 0) != hold_out(labels, 0.2, 1)).any()


def told(right: list[bool]) -> np.ndarray:
    """Probabilities of two classes that are right where they should be, for labels of 0."""
    return np.where(np.array(right)[:, None], [0.9, 0.1], [0.2, 0.8])


def test_accuracies_and_the_error_of_their_difference_are_those_of_a_paired_test() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    old, new = (rng.dirichlet(np.ones(3), 50) for _ in range(2))
    found = judge(old, new, labels)
    hits = [(scored.argmax(axis=1) == labels).astype(float) for scored in (old, new)]
    assert (found.before, found.after, found.rows) == (hits[0].mean(), hits[1].mean(), 50)
    assert (found.after - found.before) / found.error == pytest.approx(stats.ttest_rel(hits[1], hits[0]).statistic)


@pytest.mark.parametrize(
    ("before", "after", "keep"),
    [
        ([True, False, False], [True, True, False], True),
        ([True, False], [False, True], True),
        ([True] * 9 + [False], [True] * 8 + [False, True], True),
        ([True] * 9 + [False], [True] * 8 + [False] * 2, True),
        ([True] * 10, [True] * 8 + [False] * 2, False),
    ],
    ids=["better", "a tie", "another tie", "worse by one standard error", "worse by more"],
)
def test_what_is_not_clearly_worse_is_kept(before: list[bool], after: list[bool], keep: bool) -> None:
    labels = np.zeros(len(before), dtype=int)
    assert judge(told(before), told(after), labels).keep == keep


def test_being_surer_of_the_same_answers_changes_nothing() -> None:
    labels = np.array([0, 0, 0, 1])
    sure = np.tile([1.0, 0.0], (4, 1))
    found = judge(np.tile([0.6, 0.4], (4, 1)), sure, labels)
    assert (found.before, found.after, found.error) == (0.75, 0.75, 0.0)
    assert found.keep
