"""A saved classifier predicts as before, and is an ordinary transformers checkpoint."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_encoders import tiny_text_encoder, tiny_texts
from transformers import AutoModel, AutoTokenizer

from asvp.config import EncoderConfig, TrainingConfig
from asvp.errors import DataError
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
