"""Whatever is wrong with an encoder's folder, the check says so with key, value and mend; nothing is made up."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from tiny_encoders import tiny_image_encoder, tiny_text_encoder, tiny_texts

from asvp.config import EncoderConfig
from asvp.errors import AsvpError, EncoderError
from asvp.models.encoder import Encoder, check_encoder

TEXTS = tiny_texts(20)[0]


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_text_encoder(tmp_path_factory.mktemp("tiny") / "text")


@pytest.fixture(scope="module")
def image_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_image_encoder(tmp_path_factory.mktemp("tiny") / "image", "vit")


@pytest.fixture
def text(text_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(text_folder, tmp_path / "text"))


@pytest.fixture
def image(image_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(image_folder, tmp_path / "image"))


def error_of(folder: Path | str, kind: str = "text", **config: object) -> str:
    sample = TEXTS if kind == "text" else ()
    with pytest.raises(EncoderError) as caught:
        check_encoder(EncoderConfig(**{"model": str(folder), **config}), kind, sample)
    assert caught.value.key is not None
    assert caught.value.key.startswith("encoder.")
    return str(caught.value)


def change(path: Path, **values: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**content, **values}), encoding="utf-8")


def change_weights(folder: Path, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> None:
    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", "3", '"bert"', "{}", '{"model_type": 5}', '{"model_type": "no-such"}', "\x00"]
)
def test_a_damaged_or_strange_config_file(text: Path, content: str) -> None:
    (text / "config.json").write_text(content, encoding="utf-8")
    assert "config.json" in error_of(text)


def test_a_config_file_that_is_no_text(text: Path) -> None:
    (text / "config.json").write_bytes(b"\xff\xfe\x00")
    assert "config.json" in error_of(text)


@pytest.mark.parametrize("value", [None, "many", -3, 1.5, [], {}])
def test_a_config_file_with_an_impossible_value(text: Path, value: object) -> None:
    change(text / "config.json", num_attention_heads=value)
    assert "encoder.model" in error_of(text)


class TestTokenizers:
    def test_no_files_of_a_tokenizer(self, text: Path) -> None:
        for path in [*text.glob("tokenizer*"), *text.glob("vocab*")]:
            path.unlink()
        assert "tokenizer" in error_of(text)
        with pytest.raises(EncoderError, match="tokenizer"):
            Encoder.load(EncoderConfig(model=str(text)), "text", device="cpu")

    @pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"model": {"type": "WordPiece", "vocab": {}}}'])
    def test_a_damaged_tokenizer(self, text: Path, content: str) -> None:
        (text / "tokenizer.json").write_text(content, encoding="utf-8")
        assert "tokenizer" in error_of(text)

    @pytest.mark.parametrize("content", ["", "{", "[]", '{"tokenizer_class": 7}'])
    def test_a_damaged_tokenizer_config(self, text: Path, content: str) -> None:
        (text / "tokenizer_config.json").write_text(content, encoding="utf-8")
        assert "tokenizer" in error_of(text)

    def test_a_tokenizer_with_more_tokens_than_the_model(self, tmp_path: Path) -> None:
        folder = tiny_text_encoder(tmp_path / "small", vocab_size=40)
        assert "embedding table 40" in error_of(folder)

    def test_a_tokenizer_of_a_far_smaller_model(self, tmp_path: Path) -> None:
        folder = tiny_text_encoder(tmp_path / "large", vocab_size=3000)
        assert "embedding table 3,000" in error_of(folder)

    def test_a_table_that_is_padded_is_fine(self, tmp_path: Path) -> None:
        folder = tiny_text_encoder(tmp_path / "padded", vocab_size=128)
        check_encoder(EncoderConfig(model=str(folder)), "text", TEXTS)

    def test_texts_of_another_script(self, text: Path) -> None:
        config = EncoderConfig(model=str(text))
        with pytest.raises(EncoderError, match="unknown to it"):
            check_encoder(config, "text", ["проверка связи", "добрый день и вечер"])
        check_encoder(config, "text", ["python проверка", "library for audio"])

    def test_texts_that_begin_alike(self, text: Path) -> None:
        same = ["python library " * 40 + end for end in ("web", "mail")]
        with pytest.raises(EncoderError, match=r"the same tokens of all of them.*max_length"):
            check_encoder(EncoderConfig(model=str(text), max_length=16), "text", same)

    def test_one_text_and_equal_texts_tell_nothing(self, text: Path) -> None:
        check_encoder(EncoderConfig(model=str(text)), "text", ["python"])
        check_encoder(EncoderConfig(model=str(text)), "text", ["python", "python"])


class TestWeights:
    @pytest.mark.parametrize("size", [0, 1, 8, 100, 2000])
    def test_cut_anywhere(self, text: Path, size: int) -> None:
        path = text / "model.safetensors"
        path.write_bytes(path.read_bytes()[:size])
        assert "model.safetensors cannot be read" in error_of(text)

    def test_a_header_that_is_no_text(self, text: Path) -> None:
        (text / "model.safetensors").write_bytes(b"\x08" + bytes(7) + b"\xff" * 8)
        assert "model.safetensors cannot be read" in error_of(text)

    def test_a_tensor_is_missing(self, text: Path) -> None:
        name = "encoder.layer.1.output.dense.weight"
        change_weights(text, lambda weights: {key: value for key, value in weights.items() if key != name})
        message = error_of(text)
        assert "no weights for 1 tensors" in message
        assert name in message

    def test_a_tensor_has_another_shape(self, text: Path) -> None:
        name = "encoder.layer.1.output.dense.weight"
        change_weights(text, lambda weights: {**weights, name: np.zeros((32, 65), np.float32)})
        message = error_of(text)
        assert f"{name} is [32, 65] in the checkpoint, [32, 64] in the model" in message

    def test_all_tensors_have_other_names(self, text: Path) -> None:
        change_weights(text, lambda weights: {f"other.{key}x": value for key, value in weights.items()})
        assert "no weights for" in error_of(text)

    def test_tensors_that_are_not_used_do_no_harm(self, text: Path) -> None:
        change_weights(text, lambda weights: {**weights, "classifier.weight": np.zeros((2, 32), np.float32)})
        check_encoder(EncoderConfig(model=str(text)), "text", TEXTS)

    def test_numbers_that_are_not_finite(self, text: Path) -> None:
        change_weights(text, lambda weights: {key: np.full_like(value, np.nan) for key, value in weights.items()})
        assert "not finite in float32" in error_of(text)

    def test_another_family_in_config_than_in_the_weights(self, text: Path) -> None:
        change(text / "config.json", model_type="distilbert", dim=32, n_layers=2, n_heads=2, hidden_dim=64)
        assert "no weights for" in error_of(text)

    @pytest.mark.parametrize(
        "index",
        ["", "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 3}}', '{"weight_map": {"a": "../x.safetensors"}}'],
    )
    def test_a_damaged_index(self, text: Path, index: str) -> None:
        (text / "model.safetensors").unlink()
        (text / "model.safetensors.index.json").write_text(index, encoding="utf-8")
        assert "model.safetensors.index.json" in error_of(text)

    def test_a_part_of_the_weights_is_missing(self, text: Path) -> None:
        (text / "model.safetensors").rename(text / "model-00001-of-00002.safetensors")
        parts = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
        (text / "model.safetensors.index.json").write_text(json.dumps({"weight_map": parts}), encoding="utf-8")
        assert "model-00002-of-00002.safetensors" in error_of(text)


class TestPlaces:
    @pytest.mark.parametrize(
        "name",
        [
            "",
            " ",
            "a name with spaces",
            "~no-such-user/model",
            "x" * 300,
            "a/b/c",
            "../..",
            "\x00",
            "package:",
            "package:../x",
        ],
    )
    def test_a_name_that_is_nothing(self, name: str) -> None:
        assert "encoder.model" in error_of(name)

    def test_a_file(self, text: Path) -> None:
        assert "is a file" in error_of(text / "model.safetensors")

    def test_a_folder_with_spaces_works(self, text: Path) -> None:
        folder = text.rename(text.with_name("a folder with spaces [1]"))
        check_encoder(EncoderConfig(model=str(folder)), "text", TEXTS)

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        assert "it is empty" in error_of(tmp_path)

    @pytest.mark.parametrize(
        ("name", "words"),
        [
            ("adapter_config.json", "an adapter alone"),
            ("model.gguf", "a GGUF file"),
            ("model.onnx", "an ONNX graph"),
            ("tf_model.h5", "TensorFlow weights"),
        ],
    )
    def test_files_for_other_programs(self, tmp_path: Path, text: Path, name: str, words: str) -> None:
        folder = tmp_path / "other"
        folder.mkdir()
        (folder / name).write_text("{}", encoding="utf-8")
        assert words in error_of(folder)
        (text / "model.safetensors").unlink()
        (text / name).write_text("{}", encoding="utf-8")
        assert words in error_of(text)

    def test_a_folder_of_checkpoints(self, text: Path) -> None:
        assert "folders of its own" in error_of(text.parent)

    def test_code_of_a_checkpoint_is_never_run(self, text: Path, tmp_path: Path) -> None:
        mark = tmp_path / "was-run"
        (text / "code.py").write_text(f"open({str(mark)!r}, 'w')\n", encoding="utf-8")
        remote = {"AutoConfig": "code.Config", "AutoModel": "code.Model"}
        change(text / "config.json", auto_map=remote, model_type="my_own")
        change(text / "tokenizer_config.json", auto_map={"AutoTokenizer": ["code.T", None]}, tokenizer_class="T")
        assert "encoder.trust_remote_code: true" in error_of(text)
        assert not mark.exists()


class TestOptions:
    @pytest.mark.parametrize(
        ("options", "words"),
        [
            ({"num_hidden_layers": -1}, "num_hidden_layers: must be at least 1"),
            ({"num_hidden_layers": 0}, "num_hidden_layers: must be at least 1"),
            ({"num_hidden_layers": True}, "num_hidden_layers: must be a whole number"),
            ({"num_hidden_layers": 1.0}, "num_hidden_layers: must be a whole number"),
            ({"num_hidden_layers": "1"}, "num_hidden_layers: must be a whole number"),
            ({"num_hidden_layers": [1]}, "num_hidden_layers: "),
            ({"num_hidden_layers": None}, "num_hidden_layers: "),
            ({"num_hidden_layers": 3}, "num_hidden_layers: the checkpoint has no weights for"),
            ({"hidden_size": 64}, "hidden_size: the weights do not fit the model"),
            ({"hidden_size": 64, "hidden_dropout_prob": 0.0}, "hidden_size: the weights do not fit the model"),
            ({"intermediate_size": -64}, "intermediate_size: must be at least 1"),
            ({"vocab_size": 50}, "vocab_size: the weights do not fit"),
            ({"max_position_embeddings": 128}, "max_position_embeddings: the weights do not fit"),
            ({"num_attention_heads": 4}, "num_attention_heads: the weights were trained with 2"),
            ({"hidden_act": "no-such"}, "hidden_act: the weights do not fit the model"),
            ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob: must be between 0 and 1"),
            ({"hidden_dropout_prob": float("nan")}, "hidden_dropout_prob: must be a number"),
            ({"pad_token_id": -5}, "pad_token_id: must be a token's number"),
            ({"model_type": "gpt2"}, "model_type: is no option"),
            ({"return_dict": False}, "return_dict: is no option"),
        ],
    )
    def test_what_an_option_cannot_be(self, text_folder: Path, options: dict, words: str) -> None:
        assert f"encoder.options.{words}" in error_of(text_folder, options=options)

    def test_fewer_layers_are_fewer_layers(self, text_folder: Path) -> None:
        config = EncoderConfig(model=str(text_folder), options={"num_hidden_layers": 1, "hidden_dropout_prob": 0})
        check_encoder(config, "text", TEXTS)
        assert len(Encoder.load(config, "text", device="cpu").model.encoder.layer) == 1


class TestImages:
    @pytest.mark.parametrize("content", ["", "{", "[]", '"x"', "{}", '{"image_processor_type": "NoSuchProcessor"}'])
    def test_a_damaged_image_processor(self, image: Path, content: str) -> None:
        (image / "preprocessor_config.json").write_text(content, encoding="utf-8")
        assert "image processor" in error_of(image, "image")

    def test_an_image_processor_of_another_size(self, image: Path) -> None:
        change(image / "preprocessor_config.json", size={"height": 48, "width": 48})
        assert "cannot be run on images alone" in error_of(image, "image")

    def test_a_model_for_one_channel(self, tmp_path: Path) -> None:
        import torch
        from transformers import ViTConfig, ViTModel

        folder = tiny_image_encoder(tmp_path / "grey", "vit")
        settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        config = ViTConfig(**{**settings, "num_channels": 1})
        with torch.random.fork_rng(devices=[]):
            ViTModel(config).save_pretrained(folder)
        assert "cannot be run on images alone" in error_of(folder, "image", pooling="auto")


def test_positions_of_a_roberta_are_two_fewer_than_its_table(tmp_path: Path) -> None:
    from transformers import RobertaConfig, RobertaModel

    folder = tiny_text_encoder(tmp_path / "roberta")
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    kept = ("vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")
    config = RobertaConfig(**{name: settings[name] for name in kept}, max_position_embeddings=34, pad_token_id=0)
    RobertaModel(config).save_pretrained(folder)
    check_encoder(EncoderConfig(model=str(folder), max_length=33), "text", TEXTS)
    assert "encoder.max_length" in error_of(folder, max_length=34)


def test_a_declared_pooling_that_is_none_of_ours(text: Path) -> None:
    (text / "1_Pooling").mkdir()
    path = text / "1_Pooling" / "config.json"
    path.write_text('{"pooling_mode_lasttoken": true}', encoding="utf-8")
    assert "lasttoken" in error_of(text, pooling="auto")
    check_encoder(EncoderConfig(model=str(text), pooling="mean"), "text", TEXTS)
    path.write_text("[", encoding="utf-8")
    assert "config.json" in error_of(text, pooling="auto")


@pytest.mark.parametrize("device", ["cuda", "cuda:99", "mps", "no such", ""])
def test_a_device_that_is_not_here(text_folder: Path, device: str) -> None:
    import torch

    if device == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU here")
    with pytest.raises(AsvpError, match=r"device: .*Use cpu"):
        Encoder.load(EncoderConfig(model=str(text_folder)), "text", device=device)
