"""The proxy learns as a plain PyTorch perceptron does, repeats itself, and takes the odd cases in its stride."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from asvp.config import ProxyConfig
from asvp.errors import ConfigError, DataError, SelectionError
from asvp.models.proxy import Head, Proxy, balanced_weights, fit_proxy
from asvp.models.proxy.mlp import batch_bounds


def clusters(rows: int, *, dim: int = 16, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Features around one centre a class, and the classes."""
    generator = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, dim))
    labels = generator.integers(classes, size=rows)
    return (centres[labels] + generator.normal(size=(rows, dim))).astype(np.float32), labels


def plain_training(
    features: np.ndarray, labels: np.ndarray, classes: int, config: ProxyConfig, seed: int
) -> nn.Sequential:
    """The same training with modules, autograd and an ordinary optimiser."""
    rows, targets = torch.tensor(features), torch.tensor(labels)
    rows = (rows - rows.mean(0)) / rows.std(0, correction=0)
    dim = rows.shape[1]
    network = nn.Sequential(nn.Linear(dim, dim, bias=False), nn.BatchNorm1d(dim), nn.ReLU(), nn.Linear(dim, classes))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for layer in (network[0], network[3]):
            drawn = torch.rand(layer.weight.shape, generator=generator)
            layer.weight.copy_((2 * drawn - 1) / math.sqrt(dim))
        network[3].bias.zero_()
    optimiser = torch.optim.SGD(network.parameters(), config.lr, 0.9, nesterov=True, weight_decay=config.weight_decay)
    weights = balanced_weights(labels, classes) if config.class_weight else None
    cuts = batch_bounds(len(rows), config.batch_size)
    step, steps = 0, config.epochs * len(cuts)
    for _ in range(config.epochs):
        order = torch.randperm(len(rows), generator=generator)
        for start, end in cuts:
            chosen = order[start:end]
            optimiser.param_groups[0]["lr"] = config.lr * (1 + math.cos(math.pi * step / steps)) / 2
            optimiser.zero_grad()
            nn.functional.cross_entropy(network(rows[chosen]), targets[chosen], weight=weights).backward()
            optimiser.step()
            step += 1
    return network


@pytest.mark.parametrize("class_weight", [None, "balanced"])
def test_training_equals_autograd_with_a_plain_optimiser(class_weight: str | None) -> None:
    features, labels = clusters(90)
    config = ProxyConfig(epochs=3, batch_size=30, lr=0.05, weight_decay=0.01, class_weight=class_weight)
    proxy = fit_proxy(features, labels, classes=3, config=config, seed=5, device="cpu")
    network = plain_training(features, labels, 3, config, seed=5)
    state = proxy.state()
    np.testing.assert_allclose(state["layers.0.weight"], network[0].weight.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(state["layers.1.weight"], network[3].weight.detach().numpy(), atol=1e-5)
    np.testing.assert_allclose(state["layers.1.shift"], network[3].bias.detach().numpy(), atol=1e-5)


def test_scores_are_those_of_batch_norm_with_the_statistics_of_all_labelled_rows() -> None:
    features, labels = clusters(90)
    config = ProxyConfig(epochs=3, batch_size=30, lr=0.05)
    proxy = fit_proxy(features, labels, classes=3, config=config, seed=5, device="cpu")
    network = plain_training(features, labels, 3, config, seed=5)
    rows = torch.tensor((features - features.mean(0)) / features.std(0))
    other = torch.tensor((clusters(20, seed=1)[0] - features.mean(0)) / features.std(0))
    with torch.no_grad():
        raw = network[0](rows)
        normed = (network[0](other) - raw.mean(0)) / torch.sqrt(raw.var(0, correction=0) + 1e-5)
        hidden = torch.relu(normed * network[1].weight + network[1].bias)
        expected = torch.softmax(network[3](hidden), 1)
    np.testing.assert_allclose(proxy.embed(clusters(20, seed=1)[0]), hidden, atol=1e-4)
    np.testing.assert_allclose(proxy.probabilities(clusters(20, seed=1)[0]), expected, atol=1e-4)


def test_it_learns() -> None:
    proxy = fit_proxy(*clusters(300), classes=3, config=ProxyConfig(epochs=20), seed=0)
    features, labels = clusters(300, seed=1)
    assert (proxy.probabilities(features).argmax(1) == labels).mean() > 0.95


@pytest.mark.parametrize("dim", [16, 160])
def test_equal_inputs_give_equal_proxies_on_any_thread_count(dim: int) -> None:
    threads, states = torch.get_num_threads(), []
    try:
        for count in (1, 2, 4):
            torch.set_num_threads(count)
            torch.manual_seed(count)
            proxy = fit_proxy(*clusters(200, dim=dim), classes=3, config=ProxyConfig(epochs=2), seed=3, device="cpu")
            states.append(proxy.state())
    finally:
        torch.set_num_threads(threads)
    for state in states[1:]:
        for name, array in state.items():
            np.testing.assert_array_equal(array, states[0][name])


def test_large_steps_use_all_threads_and_still_repeat(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvp.models.proxy.mlp._PARALLEL_WORK", 0)
    test_equal_inputs_give_equal_proxies_on_any_thread_count(160)


def test_large_steps_repeat_on_processors_without_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asvp.models.proxy.mlp._PARALLEL_WORK", 0)
    monkeypatch.setattr("asvp.models.proxy.proxy.cpu_has_bfloat16", lambda: False)
    features, labels = clusters(200, dim=384, classes=10)
    threads, states = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            config = ProxyConfig(epochs=1)
            states.append(fit_proxy(features, labels, classes=10, config=config, seed=3, device="cpu").state())
    finally:
        torch.set_num_threads(threads)
    for name, array in states[0].items():
        np.testing.assert_array_equal(states[1][name], array, err_msg=name)


def test_another_seed_gives_another_proxy() -> None:
    states = [fit_proxy(*clusters(50), classes=3, config=ProxyConfig(epochs=1), seed=s).state() for s in (0, 1)]
    assert not np.array_equal(states[0]["layers.0.weight"], states[1]["layers.0.weight"])


@pytest.mark.parametrize("rows", [1, 2, 5, 9])
@pytest.mark.parametrize("hidden", [["auto"], [], [8, 4]])
def test_few_rows_give_finite_probabilities(rows: int, hidden: list) -> None:
    features, labels = clusters(rows)
    config = ProxyConfig(hidden=hidden, epochs=3, batch_size=4)
    proxy = fit_proxy(features, labels, classes=3, config=config, seed=0)
    probabilities = proxy.probabilities(clusters(30, seed=1)[0])
    assert probabilities.shape == (30, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_a_class_with_one_row_and_a_class_without_any_are_fine() -> None:
    features, labels = clusters(40, classes=2)
    labels = np.where(np.arange(40) == 0, 2, labels)
    config = ProxyConfig(epochs=10, class_weight="balanced")
    probabilities = fit_proxy(features, labels, classes=5, config=config, seed=0).probabilities(features)
    assert np.isfinite(probabilities).all()
    assert probabilities[:, 3:].max() < 0.5


def test_a_single_class_is_fine() -> None:
    features, _ = clusters(20)
    proxy = fit_proxy(features, np.zeros(20, np.int64), classes=1, config=ProxyConfig(epochs=2), seed=0)
    np.testing.assert_array_equal(proxy.probabilities(features), np.ones((20, 1), np.float32))


def test_a_constant_feature_does_no_harm() -> None:
    features, labels = clusters(60)
    features[:, 3] = 7
    proxy = fit_proxy(features, labels, classes=3, config=ProxyConfig(epochs=5), seed=0)
    assert np.isfinite(proxy.probabilities(features)).all()
    assert proxy.std[3] == np.float32(1e-3)


@given(rows=st.integers(1, 300), batch_size=st.integers(1, 64))
def test_batches_hold_every_row_once_and_never_one_row_after_others(rows: int, batch_size: int) -> None:
    cuts = batch_bounds(rows, batch_size)
    assert [row for start, end in cuts for row in range(start, end)] == list(range(rows))
    if rows > 1 and batch_size > 1:
        assert min(end - start for start, end in cuts) > 1


@settings(deadline=None, max_examples=10)
@given(st.integers(0, 1000))
def test_a_linear_proxy_folds_into_a_head_with_its_probabilities(seed: int) -> None:
    features, labels = clusters(40, seed=seed)
    features = features * 3 + 5
    proxy = fit_proxy(features, labels, classes=3, config=ProxyConfig(hidden=[], epochs=5), seed=seed)
    head = proxy.head()
    assert head.weight.dtype == head.bias.dtype == np.float32
    np.testing.assert_allclose(head.probabilities(features), proxy.probabilities(features), atol=1e-4)


def test_only_a_linear_proxy_is_a_head() -> None:
    with pytest.raises(DataError, match="hidden"):
        fit_proxy(*clusters(10), classes=3, config=ProxyConfig(epochs=1), seed=0).head()


def test_state_restores_the_proxy() -> None:
    features, labels = clusters(50)
    proxy = fit_proxy(features, labels, classes=3, config=ProxyConfig(epochs=2, hidden=[8, 4]), seed=0)
    again = Proxy.from_state(proxy.state())
    np.testing.assert_array_equal(again.probabilities(features), proxy.probabilities(features))
    np.testing.assert_array_equal(again.embed(features), proxy.embed(features))
    assert proxy.embed(features).shape == (50, 4)


def test_read_only_and_half_precision_features_are_accepted() -> None:
    features, labels = clusters(50)
    halves = features.astype(np.float16)
    halves.flags.writeable = False
    proxy = fit_proxy(halves, labels, classes=3, config=ProxyConfig(epochs=2), seed=0)
    assert proxy.probabilities(halves).dtype == np.float32


def test_a_head_is_softmax_of_a_linear_map() -> None:
    generator = np.random.default_rng(0)
    head = Head(generator.normal(size=(3, 8)).astype(np.float32), np.array([1, 0, -1], np.float32))
    features = generator.normal(size=(5, 8)).astype(np.float32)
    logits = features @ head.weight.T + head.bias
    np.testing.assert_allclose(head.logits(features), logits, atol=1e-5)
    expected = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    np.testing.assert_allclose(head.probabilities(features), expected, atol=1e-5)
    np.testing.assert_array_equal(head.embed(features), features)
    np.testing.assert_array_equal(Head.from_state(head.state()).weight, head.weight)


def test_balanced_weights_are_inverse_to_counts_and_average_to_one() -> None:
    labels = np.array([0, 0, 0, 1])
    np.testing.assert_allclose(balanced_weights(labels, 3), [2 / 3, 2, 0])


@pytest.mark.parametrize(
    ("features", "labels", "words"),
    [
        (np.zeros((0, 4), np.float32), np.zeros(0, np.int64), "features"),
        (np.zeros((2, 4), np.float32), np.zeros(3, np.int64), "labels"),
        (np.zeros((2, 4), np.float32), np.array([0, 3]), "0..2"),
        (np.array([[0, 1], [np.nan, 1]], np.float32), np.array([0, 1]), "row 1"),
    ],
)
def test_bad_input_is_a_data_error(features: np.ndarray, labels: np.ndarray, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fit_proxy(features, labels, classes=3, config=ProxyConfig(), seed=0)


def test_a_proxy_is_fitted_where_it_is_told_and_arrives_elsewhere_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    features, labels = clusters(10)
    proxy = fit_proxy(features, labels, classes=3, config=ProxyConfig(epochs=1), seed=0)
    assert proxy.device == torch.device("cpu")
    sent = pickle.loads(pickle.dumps(proxy))
    assert sent.device == torch.device("cpu")
    np.testing.assert_array_equal(sent.logits(features), proxy.logits(features))
    with pytest.raises(ConfigError, match="device: models run on cpu or cuda"):
        fit_proxy(features, labels, classes=3, config=ProxyConfig(epochs=1), seed=0, device="meta")


def test_features_of_another_width_are_named() -> None:
    proxy = fit_proxy(*clusters(10), classes=3, config=ProxyConfig(epochs=1), seed=0)
    with pytest.raises(SelectionError, match="width 16"):
        proxy.probabilities(np.zeros((2, 8), np.float32))
