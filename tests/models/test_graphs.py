"""Steps replayed as CUDA graphs train as steps done one kernel at a time; on a CPU, which steps are recorded."""

from __future__ import annotations

from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from gpus import on_a_gpu
from tiny_encoders import tiny_text_encoder
from torch import Tensor, nn

from asvp.config import EncoderConfig, TrainingConfig
from asvp.data.tokens import Tokens
from asvp.models.encoder import Encoder
from asvp.models.training import finetune, graphs
from asvp.models.training.graphs import StepGraphs, step_graphs

WORDS = ["python", "library", "tool", "server", "editor", "game"]
ROWS = [" ".join(WORDS[(row * 7 + place) % 6] for place in range(1 + row % 20)) for row in range(200)]
LABELS = np.arange(200) % 3


def trained(folder: Path, graphs: bool, monkeypatch: pytest.MonkeyPatch, **options: float) -> dict[str, np.ndarray]:
    """Weights after a fine-tune, the head's among them."""
    replayed = []
    run = StepGraphs.run

    def counted(self: StepGraphs, rows: np.ndarray, chosen: torch.Tensor) -> torch.Tensor | None:
        loss = run(self, rows, chosen)
        replayed.append(loss is not None)
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(StepGraphs, "run", counted)
        if not graphs:
            patch.setattr(finetune, "_graphs", lambda *_: None)
        settings = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0, **options}
        encoder = Encoder.load(EncoderConfig(model=str(folder), dtype="float32", options=settings), "text")
        config = TrainingConfig(epochs=5, batch_size=8, lr=1e-3)
        head = finetune.fine_tune(encoder, ROWS, LABELS, classes=3, config=config, seed=1)
    assert sum(replayed) > 100 if graphs else not replayed
    return {**encoder.state(), "head": head.weight}


@on_a_gpu
def test_replayed_steps_give_the_weights_of_plain_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_text_encoder(tmp_path)
    once, plain = trained(folder, True, monkeypatch), trained(folder, False, monkeypatch)
    for name, weights in plain.items():
        np.testing.assert_allclose(once[name], weights, atol=2e-3, err_msg=name)


@on_a_gpu
def test_equal_seeds_give_equal_weights_with_dropout_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_text_encoder(tmp_path)
    once, again = (trained(folder, True, monkeypatch, hidden_dropout_prob=0.1) for _ in range(2))
    for name, weights in once.items():
        np.testing.assert_array_equal(weights, again[name], err_msg=name)


class Training:
    """A bag of tokens with a linear head, and the steps that train it; random batches of 200 rows of 1 to 60 tokens."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.examples = Tokens.of([random.integers(1, 9, random.integers(1, 61)).tolist() for _ in range(200)])
        self.labels = torch.from_numpy(np.arange(200) % 3)
        self.batches = [random.choice(200, 4, replace=False) for _ in range(150)] + [np.arange(3)]
        torch.manual_seed(0)
        self.model = nn.ModuleList([nn.Embedding(9, 5), nn.Linear(5, 3)])
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=0.01)

    def step(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor:
        self.optimiser.zero_grad()
        mask = inputs["attention_mask"].unsqueeze(2)
        bag = (self.model[0](inputs["input_ids"]) * mask).sum(1) / mask.sum(1)
        loss = nn.functional.cross_entropy(self.model[1](bag), targets)
        loss.backward()
        self.optimiser.step()
        return loss.detach()

    def plain(self, rows: np.ndarray) -> Tensor:
        ids, mask = (torch.from_numpy(one) for one in self.examples.padded(rows, 0))
        return self.step({"input_ids": ids, "attention_mask": mask}, self.labels[rows])


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A step is recorded by keeping its tensors, and replayed by doing it on them: all but the graph is as on a GPU."""

    def record(self: StepGraphs, shape: tuple[int, int], pool: Any) -> Any:
        inputs = {name: torch.zeros(shape, dtype=torch.int64) for name in ("input_ids", "attention_mask")}
        targets, loss = torch.zeros(shape[0], dtype=torch.int64), torch.zeros(())
        replay = lambda: loss.copy_(self._step(inputs, targets))  # noqa: E731
        return graphs._Recorded(SimpleNamespace(replay=replay), inputs, targets, loss)  # type: ignore[arg-type]

    monkeypatch.setattr(StepGraphs, "_record", record)
    monkeypatch.setattr(graphs, "_unchanged", lambda *_: nullcontext())
    monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: None)


def recorded(training: Training, longest: int = 64) -> StepGraphs:
    return StepGraphs(training.step, training.model, training.optimiser, training.examples, training.labels, 0, longest)


def test_shapes_that_occur_often_are_replayed_and_train_as_plain_steps(no_gpu: None) -> None:
    once, plain = Training(), Training()
    kept = step_graphs(recorded(once, longest=60), once.batches)
    assert kept is not None
    replayed = []
    for rows in once.batches:
        loss = kept.run(rows, torch.from_numpy(rows))
        replayed.append(loss is not None)
        expected = plain.plain(rows)
        torch.testing.assert_close(once.plain(rows) if loss is None else loss, expected)
    for one, other in zip(once.model.parameters(), plain.model.parameters(), strict=True):
        torch.testing.assert_close(one, other)
    # 60 is as much as a row may have, though it is no multiple of 16.
    widths = [min(-(-int(once.examples.lengths[rows].max()) // 16) * 16, 60) for rows in once.batches]
    often = {width for width, times in Counter(widths[:-1]).items() if times >= 16}
    assert 60 in often
    assert replayed == [width in often for width in widths[:-1]] + [False]


def test_a_model_that_looks_at_numbers_is_trained_step_by_step(no_gpu: None, monkeypatch: pytest.MonkeyPatch) -> None:
    training, error = Training(), RuntimeError("operation not permitted when stream is capturing")

    def refuse(self: StepGraphs, *_: Any) -> Any:
        raise error

    monkeypatch.setattr(StepGraphs, "_record", refuse)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: None)
    assert step_graphs(recorded(training), training.batches) is None
    error = torch.OutOfMemoryError("CUDA out of memory")
    with pytest.raises(torch.OutOfMemoryError):
        step_graphs(recorded(training), training.batches)


def test_rows_that_would_fill_the_device_are_not_kept_there(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = Training().examples
    longest = int(examples.lengths.max())
    for most, fits in ((200 * (longest + 16), True), (200 * (longest + 16) - 1, False)):
        monkeypatch.setattr(graphs, "_MOST", most)
        assert StepGraphs.fit(examples) == fits
