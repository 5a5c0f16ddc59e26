"""Fine-tuning changes what it should, repeats itself, and equals a plain training loop."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_text_encoder, tiny_texts
from torch import nn
from transformers import AutoModel, AutoTokenizer

from asvp.config import EncoderConfig, ProxyConfig, TrainingConfig
from asvp.errors import DataError, WorkError
from asvp.models.encoder import Encoder
from asvp.models.proxy import Head, fit_proxy
from asvp.models.training.finetune import fine_tune, linear_probe

TEXTS, LABELS = tiny_texts(41)
LABELS = np.array(LABELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text_encoder(tmp_path_factory.mktemp("tiny") / "text")


def load(folder: Path, **options: object) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder), **options), "text", device="cpu")


def states_equal(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_a_run_equals_a_plain_training_loop(tmp_path: Path) -> None:
    """Whole vocabulary, no buckets, transformers and AdamW as they come; dropout off, as its order of draws differs."""
    folder = tiny_text_encoder(tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    config = TrainingConfig(epochs=2, batch_size=16, lr=1e-3, head_lr=1e-2, weight_decay=0.1)
    encoder = load(folder)
    start = Head(np.full((3, 32), 0.01, np.float32), np.zeros(3, np.float32))
    head = fine_tune(encoder, TEXTS[:32], LABELS[:32], classes=3, config=config, seed=4, head=start)

    model, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    output = nn.Linear(32, 3)
    with torch.no_grad():
        output.weight.fill_(0.01)
        output.bias.zero_()
    embeddings = [model.embeddings.word_embeddings.weight]
    body = [p for p in model.parameters() if p is not embeddings[0]]
    optimiser = torch.optim.AdamW(
        [
            {"params": [p for p in body if p.ndim > 1], "lr": 1e-3, "weight_decay": 0.1},
            {"params": [p for p in body if p.ndim < 2] + embeddings, "lr": 1e-3, "weight_decay": 0.0},
            {"params": [output.weight], "lr": 1e-2, "weight_decay": 0.1},
            {"params": [output.bias], "lr": 1e-2, "weight_decay": 0.0},
        ]
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / 4)
    generator = torch.Generator().manual_seed(4)
    model.eval()
    for _ in range(2):
        order = torch.randperm(32, generator=generator).numpy()
        for chosen in (order[:16], order[16:]):
            batch = tokenizer([TEXTS[row] for row in chosen], padding=True, return_tensors="pt")
            mask = batch["attention_mask"].unsqueeze(2)
            features = (model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
            optimiser.zero_grad()
            nn.functional.cross_entropy(output(features), torch.tensor(LABELS[chosen])).backward()
            nn.utils.clip_grad_norm_([*model.parameters(), *output.parameters()], 1.0)
            optimiser.step()
            schedule.step()
    np.testing.assert_allclose(head.weight, output.weight.detach().numpy(), atol=2e-5)
    state = encoder.state()
    for name, tensor in model.state_dict().items():
        np.testing.assert_allclose(state[name], tensor.numpy(), atol=2e-5, err_msg=name)


def test_it_learns(folder: Path) -> None:
    encoder = load(folder)
    head = fine_tune(
        encoder, TEXTS, LABELS, classes=3, config=TrainingConfig(epochs=15, lr=1e-3, head_lr=1e-2, batch_size=8), seed=0
    )
    assert (head.probabilities(encoder.encode(TEXTS)).argmax(1) == LABELS).mean() > 0.9


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(folder: Path) -> None:
    results = []
    for seed, disturbance in ((0, 1), (0, 2), (1, 1)):
        torch.manual_seed(disturbance)
        encoder = load(folder)
        head = fine_tune(encoder, TEXTS, LABELS, classes=3, config=TrainingConfig(epochs=2, batch_size=16), seed=seed)
        results.append({**encoder.state(), "head": head.weight})
    assert states_equal(results[0], results[1])
    assert not states_equal(results[0], results[2])


def test_the_global_generator_is_left_alone(folder: Path) -> None:
    before = torch.random.get_rng_state()
    fine_tune(load(folder), TEXTS, LABELS, classes=3, config=TrainingConfig(epochs=1), seed=0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_with_rates_of_nearly_nothing_weights_stay(folder: Path) -> None:
    encoder = load(folder)
    before = encoder.state()
    start = Head(np.zeros((3, 32), np.float32), np.zeros(3, np.float32))
    config = TrainingConfig(epochs=1, lr=1e-30, head_lr=1e-30)
    head = fine_tune(encoder, TEXTS, LABELS, classes=3, config=config, seed=0, head=start)
    assert states_equal(encoder.state(), before)
    np.testing.assert_allclose(head.weight, 0, atol=1e-20)


def test_words_that_no_labelled_row_has_keep_their_embeddings(folder: Path) -> None:
    encoder = load(folder)
    name = "embeddings.word_embeddings.weight"
    before = encoder.state()[name]
    fine_tune(encoder, ["python game", "web"], np.array([0, 1]), classes=2, config=TrainingConfig(epochs=2), seed=0)
    changed = np.flatnonzero((encoder.state()[name] != before).any(1))
    used = set(encoder.inputs.tokenizer(["python game", "web"])["input_ids"][0]) | set(
        encoder.inputs.tokenizer(["web"])["input_ids"][0]
    )
    assert set(changed) == used


def test_a_small_vocabulary_gives_the_weights_of_the_whole_one(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = []
    for share in (1.0, 0.0):
        monkeypatch.setattr("asvp.models.training.vocabulary._WORTH_IT", share)
        encoder = load(folder)
        fine_tune(encoder, TEXTS, LABELS, classes=3, config=TrainingConfig(epochs=2), seed=0)
        states.append(encoder.state())
    for name, array in states[0].items():
        np.testing.assert_allclose(states[1][name], array, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("rows", [1, 2, 17])
def test_few_rows_and_a_rest_of_one_train(folder: Path, rows: int) -> None:
    encoder = load(folder)
    config = TrainingConfig(epochs=1, batch_size=16, class_weight="balanced")
    head = fine_tune(encoder, TEXTS[:rows], LABELS[:rows], classes=3, config=config, seed=0)
    assert np.isfinite(head.weight).all()
    assert not encoder.model.training


def test_steps_are_reported(folder: Path) -> None:
    steps: list[tuple[int, int]] = []
    config = TrainingConfig(epochs=2, batch_size=16)
    fine_tune(
        load(folder), TEXTS, LABELS, classes=3, config=config, seed=0, on_step=lambda done, of: steps.append((done, of))
    )
    assert steps == [(step, 6) for step in range(1, 7)]


def test_fine_tuning_changes_the_fingerprint(folder: Path) -> None:
    encoder = load(folder)
    before, state = encoder.fingerprint(), encoder.state()
    fine_tune(encoder, TEXTS, LABELS, classes=3, config=TrainingConfig(epochs=1), seed=0)
    tuned = encoder.fingerprint()
    assert tuned != before
    other = load(folder)
    other.load_state(encoder.state())
    assert other.fingerprint() == tuned
    encoder.load_state(state)
    assert encoder.fingerprint() == before


def test_bfloat16_trains(folder: Path) -> None:
    encoder = load(folder, dtype="bfloat16")
    fine_tune(encoder, TEXTS, LABELS, classes=3, config=TrainingConfig(epochs=1), seed=0)
    assert all(array.dtype != np.float16 and np.isfinite(array).all() for array in encoder.state().values())


def test_a_linear_probe_has_the_probabilities_of_the_linear_proxy_it_is(folder: Path) -> None:
    features = load(folder).encode(TEXTS)
    config = ProxyConfig(hidden=[], epochs=7, lr=0.02, class_weight="balanced")
    head = linear_probe(features, LABELS, classes=3, seed=2, class_weight="balanced", config=config)
    proxy = fit_proxy(features, LABELS, classes=3, config=config, seed=2)
    np.testing.assert_allclose(head.probabilities(features), proxy.probabilities(features), atol=1e-4)


def test_lp_ft_starts_from_the_probes_head(folder: Path) -> None:
    encoder = load(folder)
    probe = linear_probe(encoder.encode(TEXTS), LABELS, classes=3, seed=0)
    config = TrainingConfig(epochs=1, lr=1e-12, head_lr=1e-12)
    head = fine_tune(encoder, TEXTS, LABELS, classes=3, config=config, seed=0, head=probe)
    np.testing.assert_allclose(head.weight, probe.weight, atol=1e-6)
    np.testing.assert_allclose(head.bias, probe.bias, atol=1e-6)


@pytest.mark.parametrize(
    ("rows", "labels", "head", "words"),
    [
        ([], np.zeros(0, np.int64), None, "no labelled row"),
        (["a"], np.array([0, 1]), None, "one label a row"),
        (["a"], np.array([3]), None, r"0\.\.2"),
        (["a"], np.array([1]), Head(np.zeros((2, 32), np.float32), np.zeros(2, np.float32)), "head must be"),
    ],
)
def test_bad_input_is_a_data_error(folder: Path, rows: list, labels: np.ndarray, head: Head, words: str) -> None:
    with pytest.raises(DataError, match=words):
        fine_tune(load(folder), rows, labels, classes=3, config=TrainingConfig(), seed=0, head=head)


@pytest.mark.parametrize("rates", [{"lr": 1e9}, {"lr": 1e30}, {"lr": 1e-4, "head_lr": 1e38}])
def test_a_training_that_diverges_says_so_and_names_the_rate(folder: Path, rates: dict) -> None:
    config = TrainingConfig(epochs=6, batch_size=8, **rates)
    with pytest.raises(WorkError, match=r"training\.lr: the training diverged.*head_lr") as caught:
        fine_tune(load(folder), TEXTS, LABELS, classes=3, config=config, seed=0)
    assert "row" not in caught.value.message


def test_features_that_were_not_finite_before_are_no_fault_of_the_training(folder: Path) -> None:
    encoder = load(folder)
    state = encoder.state()
    encoder.load_state({name: np.full_like(array, np.nan) for name, array in state.items()})
    with pytest.raises(WorkError, match=r"encoder\.model: the loss was not finite before the first step"):
        fine_tune(encoder, TEXTS, LABELS, classes=3, config=TrainingConfig(epochs=2), seed=0)
