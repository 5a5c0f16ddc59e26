"""A saved classifier predicts as before, and is an ordinary transformers checkpoint."""

from __future__ import annotations

import json
import resource
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import tiny_text_encoder, tiny_texts
from transformers import AutoModel, AutoTokenizer

from asvp.config import EncoderConfig, TrainingConfig
from asvp.errors import DataError, EncoderError, RunDirectoryError, WorkError
from asvp.models.classifier import Classifier, load_head, save_head
from asvp.models.encoder import Encoder
from asvp.models.proxy import Head
from asvp.models.training.finetune import fine_tune

TEXTS, LABELS = tiny_texts(20)


@pytest.fixture
def classifier(tmp_path: Path) -> Classifier:
    config = EncoderConfig(model=str(tiny_text_encoder(tmp_path / "tiny")), max_length=6, pooling="cls")
    encoder = Encoder.load(config, "text", device="cpu")
    head = fine_tune(encoder, TEXTS, np.array(LABELS), classes=3, config=TrainingConfig(epochs=1), seed=0)
    return Classifier(encoder, head, ["admin", "games", "Büro"])


def test_a_loaded_classifier_predicts_identically(classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "model")
    again = Classifier.load(tmp_path / "model", device="cpu")
    assert again.classes == ("admin", "games", "Büro")
    np.testing.assert_array_equal(again.probabilities(TEXTS), classifier.probabilities(TEXTS))
    assert again.predict(TEXTS) == classifier.predict(TEXTS)


def test_predictions_are_the_names_of_the_most_probable_classes(classifier: Classifier) -> None:
    expected = [classifier.classes[number] for number in classifier.probabilities(TEXTS).argmax(1)]
    assert classifier.predict(TEXTS) == expected


def test_the_folder_opens_with_transformers_alone(classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "model")
    model, tokenizer = AutoModel.from_pretrained(tmp_path / "model"), AutoTokenizer.from_pretrained(tmp_path / "model")
    outputs = model(**tokenizer([TEXTS[0]], truncation=True, max_length=6, return_tensors="pt"))
    features = outputs.last_hidden_state[:, 0].detach().numpy()
    np.testing.assert_allclose(features, classifier.encoder.encode([TEXTS[0]]), atol=1e-5)


def test_the_folder_holds_no_pickle(classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "model")
    names = {path.name for path in (tmp_path / "model").iterdir()}
    assert {"config.json", "model.safetensors", "head.safetensors", "asvp.json"} <= names
    assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]


def test_a_head_alone_is_for_ready_made_features(tmp_path: Path) -> None:
    head = Head(np.ones((2, 4), np.float32), np.zeros(2, np.float32))
    save_head(tmp_path, head, ["a", "b"])
    again, classes = load_head(tmp_path)
    assert classes == ("a", "b")
    np.testing.assert_array_equal(again.weight, head.weight)
    with pytest.raises(DataError, match="load_head"):
        Classifier.load(tmp_path)


def test_a_folder_without_a_classifier_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no classifier.*model/"):
        Classifier.load(tmp_path)


def test_a_newer_format_is_refused(classifier: Classifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "model")
    path = tmp_path / "model" / "asvp.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(DataError, match="newer asvp"):
        Classifier.load(tmp_path / "model")


def test_a_head_of_another_width_is_refused(classifier: Classifier) -> None:
    with pytest.raises(DataError, match="classes by features"):
        Classifier(classifier.encoder, classifier.head, ["only one"])


class TestRows:
    def test_none_give_none(self, classifier: Classifier) -> None:
        assert classifier.predict([]) == []
        assert classifier.probabilities([]).shape == (0, 3)

    def test_any_iterable_of_texts_will_do(self, classifier: Classifier) -> None:
        expected = classifier.predict(TEXTS)
        assert classifier.predict(tuple(TEXTS)) == expected
        assert classifier.predict(iter(TEXTS)) == expected
        assert classifier.predict(np.array(TEXTS)) == expected

    @pytest.mark.parametrize("rows", ["one text", b"bytes", bytearray(b"x"), None, 3, {"text": "a"}, Path("a")])
    @pytest.mark.parametrize("method", ["predict", "probabilities"])
    def test_what_is_no_list_of_rows_is_refused(self, classifier: Classifier, rows: object, method: str) -> None:
        with pytest.raises(DataError, match="rows: must be a list of texts"):
            getattr(classifier, method)(rows)

    @pytest.mark.parametrize("row", [None, 3, b"bytes", ["a"], float("nan"), np.str_])
    def test_a_row_of_another_type_is_named(self, classifier: Classifier, row: object) -> None:
        with pytest.raises(DataError, match="row 1: is no text"):
            classifier.predict(["a", row])

    def test_half_a_character_is_named(self, classifier: Classifier) -> None:
        with pytest.raises(DataError, match="row 2: holds half of a surrogate pair"):
            classifier.predict(["a", "b\0c", "x\ud800"])


class TestSaving:
    @pytest.mark.parametrize("name", ["mine.txt", "model.safetensors", "config.json"])
    def test_a_folder_that_holds_other_things_is_left_alone(
        self, classifier: Classifier, tmp_path: Path, name: str
    ) -> None:
        folder = tmp_path / "mine"
        folder.mkdir()
        (folder / name).write_text("mine", encoding="utf-8")
        with pytest.raises(RunDirectoryError, match=r"folder: is not empty.*new or empty"):
            classifier.save(folder)
        assert [(path.name, path.read_text()) for path in folder.iterdir()] == [(name, "mine")]

    def test_a_saved_classifier_is_replaced_and_notes_beside_it_stay(
        self, classifier: Classifier, tmp_path: Path
    ) -> None:
        folder = tmp_path / "model"
        classifier.save(folder)
        (folder / "notes.txt").write_text("mine", encoding="utf-8")
        other = Classifier(classifier.encoder, classifier.head, ["x", "y", "z"])
        other.save(folder)
        assert Classifier.load(folder, device="cpu").classes == ("x", "y", "z")
        assert (folder / "notes.txt").read_text() == "mine"
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "tiny"]

    @pytest.mark.parametrize("name", ["", " ", "/", "~no-such-user/x", "x" * 300, "a\0b"])
    def test_a_name_that_is_no_folder(self, classifier: Classifier, name: str) -> None:
        with pytest.raises(RunDirectoryError, match=r"folder: (is|begins|cannot)"):
            classifier.save(name)

    def test_a_file_in_the_way(self, classifier: Classifier, tmp_path: Path) -> None:
        path = tmp_path / "file"
        path.write_text("mine", encoding="utf-8")
        with pytest.raises(RunDirectoryError, match="is a file"):
            classifier.save(path)
        with pytest.raises(RunDirectoryError, match="cannot be written"):
            classifier.save(path / "below")
        assert path.read_text() == "mine"

    def test_a_full_disk_leaves_the_old_classifier_and_nothing_else(
        self, classifier: Classifier, tmp_path: Path
    ) -> None:
        """A limit on the size of files is what can be had of a full disk without a disk of its own."""
        folder = tmp_path / "model"
        classifier.save(folder)
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
            with pytest.raises((RunDirectoryError, WorkError), match="folder: "):
                classifier.save(folder)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            signal.signal(signal.SIGXFSZ, handler)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["model", "tiny"]


class TestDamage:
    @pytest.mark.parametrize("name", ["asvp.json", "head.safetensors"])
    @pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
    def test_a_damaged_file_is_no_classifier(
        self, classifier: Classifier, tmp_path: Path, name: str, content: bytes
    ) -> None:
        classifier.save(tmp_path / "model")
        (tmp_path / "model" / name).write_bytes(content)
        with pytest.raises(DataError, match="folder: holds no classifier"):
            Classifier.load(tmp_path / "model")

    @pytest.mark.parametrize(
        "change",
        [
            {"classes": ["one"]},
            {"classes": [1, 2, 3]},
            {"encoder": {}},
            {"encoder": []},
            {"encoder": {"kind": "sound", "pooling": "mean", "max_length": 8, "dtype": "float32", "batch_size": 4}},
            {"encoder": {"kind": "text", "pooling": "odd", "max_length": 8, "dtype": "float32", "batch_size": 4}},
        ],
    )
    def test_a_record_that_does_not_fit_is_no_classifier(
        self, classifier: Classifier, tmp_path: Path, change: dict
    ) -> None:
        classifier.save(tmp_path / "model")
        path = tmp_path / "model" / "asvp.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **change}), encoding="utf-8")
        with pytest.raises(DataError, match="folder: holds no classifier"):
            Classifier.load(tmp_path / "model")

    def test_weights_of_a_saved_classifier_that_are_damaged(self, classifier: Classifier, tmp_path: Path) -> None:
        classifier.save(tmp_path / "model")
        path = tmp_path / "model" / "model.safetensors"
        path.write_bytes(path.read_bytes()[:1000])
        with pytest.raises(EncoderError, match="cannot be read"):
            Classifier.load(tmp_path / "model")

    def test_the_pre_trained_checkpoint_is_no_longer_needed(self, classifier: Classifier, tmp_path: Path) -> None:
        classifier.save(tmp_path / "model")
        expected = classifier.predict(TEXTS)
        shutil.rmtree(tmp_path / "tiny")
        assert Classifier.load(tmp_path / "model", device="cpu").predict(TEXTS) == expected
