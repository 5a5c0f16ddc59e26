"""A trained classifier as files: a transformers checkpoint, a head, and the names of the classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

import asvp
from asvp.config import EncoderConfig
from asvp.errors import DataError
from asvp.models.encoder import Encoder
from asvp.models.proxy import Head
from asvp.models.quiet import quiet_transformers

_HEAD = "head.safetensors"
_RECORD = "asvp.json"
_FORMAT = 1


class Classifier:
    """An encoder, a head, and what its classes are called.

    Saved, it is a folder that transformers itself can open (`AutoModel.from_pretrained(folder)` gives the encoder,
    `AutoTokenizer` or `AutoImageProcessor` what reads its rows), with two files beside: head.safetensors with `weight`
    (C, D) and `bias` (C,) on the pooled features, and asvp.json with the classes, the kind of rows, pooling, maximal
    length and versions.

    Parameters
    ----------
    encoder : Encoder
    head : Head
        (C, D), D the encoder's width.
    classes : sequence of str
        C names, in the order of the head's rows.

    Examples
    --------
    >>> from asvp.models.classifier import Classifier
    >>> classifier = Classifier.load("runs/demo/model")  # doctest: +SKIP
    >>> classifier.predict(["a fast text editor"])  # doctest: +SKIP
    ['editors']
    """

    def __init__(self, encoder: Encoder, head: Head, classes: Sequence[str]) -> None:
        if head.weight.shape != (len(classes), encoder.dim):
            raise DataError(
                f"the head must be ({len(classes)}, {encoder.dim}): classes by features",
                key="head",
                value=head.weight.shape,
            )
        self.encoder = encoder
        self.head = head
        self.classes = tuple(classes)

    def probabilities(self, rows: Sequence[str] | Sequence[bytes]) -> np.ndarray:
        """Class probabilities (n, C) float32 of texts or encoded images."""
        return self.head.probabilities(self.encoder.encode(rows))

    def predict(self, rows: Sequence[str] | Sequence[bytes]) -> list[str]:
        """The most probable class of each row, by name."""
        return [self.classes[number] for number in self.probabilities(rows).argmax(1)]

    def save(self, folder: str | Path) -> None:
        """Write the classifier into a folder, which is made if it is missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        with quiet_transformers():
            self.encoder.model.save_pretrained(folder)
            self.encoder.inputs.save(str(folder))
        encoder = {
            "kind": self.encoder.kind,
            "pooling": self.encoder.pooling,
            "max_length": self.encoder.config.max_length,
            "dtype": self.encoder.dtype_name,
            "batch_size": self.encoder.config.batch_size,
            "source": self.encoder.config.model,
        }
        save_head(folder, self.head, self.classes, encoder=encoder)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None) -> Classifier:
        """The classifier that `save` wrote; on the same kind of device its predictions are identical.

        Raises
        ------
        DataError
            If the folder holds no classifier, or one without an encoder (trained on ready-made features: `load_head`).
        EncoderError
            If its checkpoint cannot be read.
        """
        head, classes, encoder = _read(Path(folder))
        if encoder is None:
            raise DataError(
                "was trained on ready-made features and has no encoder",
                key="folder",
                value=str(folder),
                mend="Read it with asvp.models.classifier.load_head and give it features",
            )
        config = EncoderConfig(
            model=str(folder), **{key: encoder[key] for key in ("pooling", "max_length", "dtype", "batch_size")}
        )
        return cls(Encoder.load(config, encoder["kind"], device=device), head, classes)


def save_head(folder: str | Path, head: Head, classes: Sequence[str], *, encoder: dict[str, Any] | None = None) -> None:
    """Write a head and its classes, with how its encoder is used if it has one."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: np.ascontiguousarray(array) for name, array in head.state().items()}, folder / _HEAD)
    record = {
        "format": _FORMAT,
        "classes": list(classes),
        "encoder": encoder,
        "versions": {
            "asvp": asvp.__version__,
            "torch": torch.__version__,
            "transformers": transformers.__version__,
        },
    }
    (folder / _RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def load_head(folder: str | Path) -> tuple[Head, tuple[str, ...]]:
    """A head and its classes, as `save_head` or `Classifier.save` wrote them; DataError if there are none."""
    head, classes, _ = _read(Path(folder))
    return head, classes


def _read(folder: Path) -> tuple[Head, tuple[str, ...], dict[str, Any] | None]:
    try:
        record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        head = Head.from_state(load_file(folder / _HEAD))
        newer = record["format"] > _FORMAT
        classes, encoder = tuple(record["classes"]), record["encoder"]
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise DataError(
            f"holds no classifier: {error}", key="folder", value=str(folder), mend="Give a run's folder model/"
        ) from None
    if newer:
        raise DataError("was written by a newer asvp", key="folder", value=str(folder), mend="Upgrade asvp")
    return head, classes, encoder
