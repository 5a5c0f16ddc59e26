"""Code that comes with a checkpoint is run where the configuration says so, and nowhere else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_encoders import tiny_text_encoder
from tiny_runs import tiny_config

from asvp.config import EncoderConfig
from asvp.driver.check import check_config
from asvp.driver.loop import run
from asvp.errors import EncoderError
from asvp.models.classifier import Classifier
from asvp.models.encoder import Encoder, check_encoder, encoder_spec_fingerprint
from asvp.models.proxy import Head
from asvp.progress import SilentReporter
from asvp.report.comparison import compare

TEXTS = ["python library", "a fast text editor for the web"]
CODE = """
from transformers import BertConfig, BertModel

open({mark!r}, "a").close()


class OwnConfig(BertConfig):
    model_type = "my_own"


class OwnModel(BertModel):
    config_class = OwnConfig
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where transformers puts code that it runs."""
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """The file that the checkpoint's code makes when it is run."""
    return tmp_path / "it-ran"


@pytest.fixture
def folder(tmp_path: Path, mark: Path) -> Path:
    """A checkpoint with a model of its own, which is BERT by another name."""
    return with_code(tiny_text_encoder(tmp_path / "own"), mark)


def with_code(folder: Path, mark: Path, *, model: str = "own_code.OwnModel") -> Path:
    (folder / "own_code.py").write_text(CODE.format(mark=str(mark)), encoding="utf-8")
    path = folder / "config.json"
    named = {"AutoConfig": "own_code.OwnConfig", "AutoModel": model}
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "my_own", "auto_map": named}))
    return folder


def options(folder: Path, **changes: Any) -> EncoderConfig:
    return EncoderConfig(**{"model": str(folder), "dtype": "float32", "trust_remote_code": True, **changes})


def test_it_is_refused_unless_it_is_trusted_and_the_message_names_the_key(folder: Path, mark: Path) -> None:
    for refuse in (check_encoder, Encoder.load):
        with pytest.raises(EncoderError, match=r"is run only with encoder\.trust_remote_code: true"):
            refuse(options(folder, trust_remote_code=False), "text")
    assert not mark.exists()


def test_trusted_it_is_run_and_gives_the_features_of_its_model(folder: Path, mark: Path, tmp_path: Path) -> None:
    check_encoder(options(folder), "text", TEXTS)
    assert mark.exists()
    own = Encoder.load(options(folder), "text", device="cpu")
    plain = Encoder.load(options(tiny_text_encoder(tmp_path / "plain")), "text", device="cpu")
    assert type(own.model).__name__ == "OwnModel"
    np.testing.assert_array_equal(own.encode(TEXTS), plain.encode(TEXTS))


def test_its_code_is_part_of_the_key_of_its_features(folder: Path) -> None:
    before = encoder_spec_fingerprint(options(folder), "text", device="cpu")
    assert Encoder.load(options(folder), "text", device="cpu").fingerprint() == before
    with (folder / "own_code.py").open("a", encoding="utf-8") as opened:
        opened.write("# Changed.\n")
    assert encoder_spec_fingerprint(options(folder), "text", device="cpu") != before


def test_trust_changes_no_key_where_there_is_no_code(tmp_path: Path) -> None:
    plain = tiny_text_encoder(tmp_path / "plain")
    keys = {
        encoder_spec_fingerprint(options(plain, trust_remote_code=trusts), "text", device="cpu")
        for trusts in (False, True)
    }
    assert len(keys) == 1


def test_code_of_another_repository_is_refused_though_the_checkpoint_is_trusted(tmp_path: Path, mark: Path) -> None:
    folder = with_code(tiny_text_encoder(tmp_path / "own"), mark, model="somebody/else--own_code.OwnModel")
    with pytest.raises(EncoderError, match=r"code of another repository, somebody/else--own_code\.OwnModel.*Copy"):
        check_encoder(options(folder), "text")
    assert not mark.exists()


def test_a_classifier_made_of_it_keeps_the_code_and_asks_for_trust_again(folder: Path, tmp_path: Path) -> None:
    encoder = Encoder.load(options(folder), "text", device="cpu")
    head = Head(np.random.default_rng(0).normal(size=(2, encoder.dim)).astype(np.float32), np.zeros(2, np.float32))
    classifier = Classifier(encoder, head, ["x", "y"])
    classifier.save(tmp_path / "saved")
    with pytest.raises(EncoderError, match="trust_remote_code"):
        Classifier.load(tmp_path / "saved", device="cpu")
    again = Classifier.load(tmp_path / "saved", device="cpu", trust_remote_code=True)
    np.testing.assert_array_equal(again.probabilities(TEXTS), classifier.probabilities(TEXTS))


class Told(SilentReporter):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_who_trusts_is_told_in_the_terminal_in_the_log_and_in_the_report(tmp_path: Path, mark: Path) -> None:
    config = tiny_config(tmp_path, budget="20", encoder={"trust_remote_code": True})
    with_code(tmp_path / "encoder", mark)
    told = Told()
    run(config, out=tmp_path / "run", in_process=True, reporter=told)
    said = (
        f"Python code that comes with the checkpoint {tmp_path / 'encoder'} is run: encoder.trust_remote_code is true"
    )
    assert told.lines.count(f"Warning: {said}") == 1
    assert (tmp_path / "run" / "run.log").read_text().count(said) == 1
    assert any("that came with the checkpoint" in note for note in compare([tmp_path / "run"]).notes)
    assert said in check_config(config).warnings
