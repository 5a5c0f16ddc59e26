"""On a GPU: steps replayed as CUDA graphs train as steps done one kernel at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_text_encoder

from asvp.config import EncoderConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.models.training import finetune
from asvp.models.training.graphs import StepGraphs

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")

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


def test_replayed_steps_give_the_weights_of_plain_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_text_encoder(tmp_path)
    once, plain = trained(folder, True, monkeypatch), trained(folder, False, monkeypatch)
    for name, weights in plain.items():
        np.testing.assert_allclose(once[name], weights, atol=2e-3, err_msg=name)


def test_equal_seeds_give_equal_weights_with_dropout_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tiny_text_encoder(tmp_path)
    once, again = (trained(folder, True, monkeypatch, hidden_dropout_prob=0.1) for _ in range(2))
    for name, weights in once.items():
        np.testing.assert_array_equal(weights, again[name], err_msg=name)
