"""Nobody looks at the mask of a batch of which all is known, and what comes out is the same."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_text_encoder, tiny_texts
from transformers import AttentionMaskInterface, BertModel, GPT2Config, GPT2Model, masking_utils
from transformers.masking_utils import sdpa_mask

from asvp.config import EncoderConfig, TrainingConfig
from asvp.models.encoder import Encoder
from asvp.models.encoder import encoder as encoder_module
from asvp.models.encoder.masks import known_padding
from asvp.models.training.finetune import fine_tune

TEXTS, LABELS = tiny_texts(60)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether transformers found padding, for each time it looked."""
    seen: list[bool] = []
    for name in ("_ignore_bidirectional_mask_sdpa", "_ignore_causal_mask_sdpa"):
        ignore = getattr(masking_utils, name)

        def noted(padding_mask: torch.Tensor | None, *given: object, ignore: object = ignore, **more: object) -> bool:
            ignored: bool = ignore(padding_mask, *given, **more)
            # Without a mask there is nothing to look at.
            if padding_mask is not None:
                seen.append(not ignored)
            return ignored

        monkeypatch.setattr(masking_utils, name, noted)
    return seen


def load(folder: Path) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder), dtype="float32", batch_size=4), "text", device="cpu")


def as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder_module, "known_padding", lambda mask, unaltered: known_padding(None))


def test_no_batch_is_looked_at_and_features_keep_every_bit(
    tmp_path: Path, looks: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Batches of four rows, whatever the lengths of the texts are.
    monkeypatch.setattr("asvp.models.encoder.inputs._PADDING_ON_CPU", np.inf)
    encoder = load(tiny_text_encoder(tmp_path))
    looks.clear()
    found = encoder.encode(TEXTS)
    assert looks == []
    as_before(monkeypatch)
    np.testing.assert_array_equal(encoder.encode(TEXTS), found)
    assert looks.count(False) > 0
    assert looks.count(True) > 0


def test_a_model_that_may_alter_masks_is_let_look_where_there_is_no_padding(
    tmp_path: Path, looks: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asvp.models.encoder.inputs._PADDING_ON_CPU", np.inf)
    monkeypatch.setattr(BertModel, "__module__", "transformers_modules.of_somebody")
    encoder = load(tiny_text_encoder(tmp_path))
    looks.clear()
    encoder.encode(TEXTS)
    assert len(looks) > 0
    assert True not in looks


def test_weights_after_a_training_keep_every_bit(
    tmp_path: Path, looks: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tiny_text_encoder(tmp_path)

    def trained() -> dict[str, np.ndarray]:
        encoder = load(folder)
        looks.clear()
        fine_tune(encoder, TEXTS, np.array(LABELS), classes=3, config=TrainingConfig(epochs=1), seed=0)
        return encoder.state()

    one = trained()
    assert looks == []
    as_before(monkeypatch)
    for name, array in trained().items():
        np.testing.assert_array_equal(array, one[name], err_msg=name)


@pytest.mark.parametrize("padded", [True, False])
def test_models_that_look_back_alone_keep_every_bit(padded: bool, looks: list[bool]) -> None:
    torch.manual_seed(0)
    model = GPT2Model(GPT2Config(vocab_size=50, n_embd=32, n_layer=2, n_head=2, n_positions=16)).eval()
    tokens = torch.arange(36).view(4, 9)
    mask = torch.ones_like(tokens)
    if padded:
        mask[1:, 6:] = 0
    with torch.no_grad():
        expected = model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        looks.clear()
        with known_padding(mask):
            found = model(input_ids=tokens, attention_mask=mask, use_cache=False).last_hidden_state
        assert looks == []
    assert torch.equal(found, expected)


def test_nothing_is_known_of_other_masks_and_in_other_threads(looks: list[bool]) -> None:
    mask = torch.tensor([[1, 1, 0], [1, 1, 1]])
    makes = AttentionMaskInterface._global_mapping["sdpa"]

    def made(given: torch.Tensor | None) -> torch.Tensor | None:
        rows, tokens = (2, 3) if given is None else given.shape
        found: torch.Tensor | None = makes(
            batch_size=rows,
            q_length=tokens,
            kv_length=tokens,
            mask_function=masking_utils.bidirectional_mask_function,
            attention_mask=None if given is None else given.bool(),
            allow_is_causal_skip=False,
            allow_is_bidirectional_skip=True,
        )
        return found

    def elsewhere() -> None:
        made(mask)

    with known_padding(mask):
        expected = mask.bool()[:, None, None, :].expand(2, 1, 3, 3)
        assert torch.equal(made(mask), expected)
        assert looks == []
        assert made(torch.ones(2, 4)) is None
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert looks == [False, True]
    with known_padding(torch.ones(2, 3)):
        assert made(torch.ones(2, 3)) is None
        assert looks == [False, True]
        assert made(torch.ones(2, 4)) is None
    looks.clear()
    with known_padding(None):
        made(mask)
    with known_padding(torch.ones(2, 3), unaltered=False):
        made(mask)
    assert looks == [True, True]
    assert made(None) is None
    assert makes is not sdpa_mask
