"""Scores do not depend on the number of threads, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from asvp.config import ProxyConfig
from asvp.errors import SelectionError
from asvp.models.proxy import Head, fit_proxy


@pytest.mark.parametrize("classes", [2, 5, 10, 33, 100])
@pytest.mark.parametrize("dim", [64, 384])
def test_scores_are_equal_on_any_number_of_threads(dim: int, classes: int) -> None:
    rng = np.random.default_rng(0)
    features = rng.normal(size=(2048 + 100, dim)).astype(np.float32)
    head = Head(rng.normal(size=(classes, dim)).astype(np.float32), np.zeros(classes, np.float32))
    config = ProxyConfig(epochs=1)
    proxy = fit_proxy(features[:200], np.arange(200) % classes, classes=classes, config=config, seed=0, device="cpu")
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2, 4):
            torch.set_num_threads(threads)
            found.append((head.logits(features), proxy.logits(features), proxy.embed(features)))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_scores_are_those_of_the_formula_in_every_block() -> None:
    rng = np.random.default_rng(1)
    features = rng.normal(size=(1300, 7)).astype(np.float16)
    head = Head(rng.normal(size=(3, 7)).astype(np.float32), rng.normal(size=3).astype(np.float32))
    np.testing.assert_allclose(
        head.logits(features), features.astype(np.float64) @ head.weight.T + head.bias, atol=1e-5
    )
    assert head.logits(features[:0]).shape == (0, 3)


def test_an_error_in_one_block_is_not_swallowed() -> None:
    head = Head(np.ones((2, 5), np.float32), np.zeros(2, np.float32))
    with pytest.raises(SelectionError, match="width 5"):
        head.logits(np.ones((10, 4), np.float32))
