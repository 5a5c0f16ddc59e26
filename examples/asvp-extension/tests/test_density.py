"""information_density keeps every promise of a strategy, and picks what the paper's formula says."""

from __future__ import annotations

import numpy as np
import pytest
from asvp_extension.density import INFORMATION_DENSITY

from asvp.selection import select
from asvp.selection.testing import PROMISES


@pytest.fixture
def inputs():
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(3), size=40).astype(np.float32)
    return {"features": rng.normal(size=(40, 5)).astype(np.float32), "probabilities": probabilities}


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_keeps_every_promise(promise):
    promise(INFORMATION_DENSITY)


@pytest.mark.parametrize("beta", [0.5, 1.0, 3.0])
def test_picks_are_those_of_all_pairs_of_rows(inputs, beta):
    labelled = [4, 30]
    free = [row for row in range(40) if row not in labelled]
    unit = inputs["features"] / np.linalg.norm(inputs["features"], axis=1, keepdims=True)
    density = np.maximum((unit @ unit[free].T).mean(axis=1), 0)
    second, first = np.sort(inputs["probabilities"], axis=1)[:, -2:].T
    scores = (1 - (first - second)) * density**beta
    expected = sorted(free, key=lambda row: -scores[row])[:6]
    picks = select(INFORMATION_DENSITY, budget=6, seed=0, labelled=labelled, beta=beta, **inputs)
    assert picks.tolist() == expected


def test_without_weight_of_the_density_it_is_margin(inputs):
    picks = select(INFORMATION_DENSITY, budget=9, seed=0, beta=0, **inputs)
    assert picks.tolist() == select("margin", budget=9, seed=0, probabilities=inputs["probabilities"]).tolist()
