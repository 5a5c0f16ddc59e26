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


def test_the_gain_is_the_mean_fall_of_the_log_loss_and_its_error_that_of_a_paired_test() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 50)
    old, new = (rng.dirichlet(np.ones(3), 50) for _ in range(2))
    found = judge(old, new, labels)
    losses = [-np.log(told[np.arange(50), labels]) for told in (old, new)]
    assert found.gain == pytest.approx(losses[0].mean() - losses[1].mean())
    assert found.gain / found.error == pytest.approx(stats.ttest_rel(*losses).statistic)
    assert found.accuracy == ((old.argmax(1) == labels).mean(), (new.argmax(1) == labels).mean())
    assert found.keep == (found.gain > 0)


def test_one_certain_mistake_does_not_weigh_without_bounds() -> None:
    labels = np.zeros(100, dtype=int)
    sure = np.tile([0.99, 0.01], (100, 1))
    sure[0] = [0.0, 1.0]
    unsure = np.tile([0.6, 0.4], (100, 1))
    assert judge(unsure, sure, labels).keep
