"""A trained classifier as files: a transformers checkpoint, a head, and the names of the classes."""

from __future__ import annotations

import json
import os
import shutil
import uuid
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from safetensors.numpy import load_file, save_file

import asvp
from asvp.config import EncoderConfig
from asvp.errors import AsvpError, DataError, RowError, RunDirectoryError, StorageError, first_line
from asvp.files import is_full, parse_json
from asvp.models.encoder import Encoder
from asvp.models.encoder.decoding import possible_way
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

    def probabilities(self, rows: Iterable[str] | Iterable[bytes]) -> np.ndarray:
        """Class probabilities (n, C) float32 of texts or encoded images.

        Parameters
        ----------
        rows : iterable of str or bytes
            n rows of the kind that the classifier was trained on; none give an array of shape (0, C).

        Raises
        ------
        DataError
            If it is one row and no list of rows, or holds something else than texts (encoded images).
        """
        features = self.encoder.encode(_listed(rows, self.encoder.kind))
        finite = np.isfinite(features).all(axis=1)
        if not finite.all():
            raise RowError(
                f"the encoder's feature of it is not finite in {self.encoder.dtype_name}", row=int(np.argmin(finite))
            )
        return self.head.probabilities(features)

    def predict(self, rows: Iterable[str] | Iterable[bytes]) -> list[str]:
        """The most probable class of each row, by name; parameters and errors as of `probabilities`."""
        return [self.classes[number] for number in self.probabilities(rows).argmax(1)]

    def save(self, folder: str | Path) -> None:
        """Write the classifier into a folder.

        Parameters
        ----------
        folder : path
            Made if it is missing; else empty, or a classifier's that was saved there before and is replaced. Other
            files in it stay as they are.

        Raises
        ------
        RunDirectoryError
            If the folder holds other things, or cannot be written.
        StorageError
            If the disk is full; what was there before is left.
        """
        _write_files(folder, self._write)

    def _write(self, folder: Path) -> None:
        with quiet_transformers():
            self.encoder.model.save_pretrained(folder)
            self.encoder.inputs.save(str(folder))
        encoder = {
            "kind": self.encoder.kind,
            "pooling": self.encoder.pooling,
            "max_length": self.encoder.config.max_length,
            "dtype": self.encoder.dtype_name,
            "decode": self.encoder.resolved().decode
            if self.encoder.config.decode == "auto"
            else self.encoder.config.decode,
            "batch_size": self.encoder.config.batch_size,
            "source": self.encoder.config.model,
        }
        _write_head(folder, self.head, self.classes, encoder)

    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None, trust_remote_code: bool = False) -> Classifier:
        """The classifier that `save` wrote; on the same kind of device its predictions are identical.

        Parameters
        ----------
        folder : path
        device : str, optional
            "cpu" or "cuda"; None takes a GPU if there is one.
        trust_remote_code : bool
            Run the Python code that lies in the folder, where the encoder came with its own.

        Raises
        ------
        DataError
            If the folder holds no classifier, or one without an encoder (trained on ready-made features: `load_head`).
        EncoderError
            If its checkpoint cannot be read.
        """
        folder = Path(folder).expanduser()
        head, classes, encoder = _read(folder)
        if encoder is None:
            raise DataError(
                "was trained on ready-made features and has no encoder",
                key="folder",
                value=str(folder),
                mend="Read it with asvp.models.classifier.load_head and give it features",
            )
        try:
            config = EncoderConfig(
                model=str(folder),
                trust_remote_code=trust_remote_code,
                # Classifiers of before had Pillow alone.
                decode=possible_way(encoder.get("decode", "pil"), device),
                **{key: encoder[key] for key in ("pooling", "max_length", "dtype", "batch_size")},
            )
            kind = encoder["kind"]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise _no_classifier(folder, error) from None
        if kind not in ("text", "image"):
            raise _no_classifier(folder, ValueError(f"{kind!r} is no kind of rows"))
        return cls(Encoder.load(config, kind, device=device), head, classes)


def save_head(folder: str | Path, head: Head, classes: Sequence[str]) -> None:
    """Write a head and its classes, for ready-made features; parameters and errors as of `Classifier.save`."""
    _write_files(folder, lambda temporary: _write_head(temporary, head, classes, None))


def load_head(folder: str | Path) -> tuple[Head, tuple[str, ...]]:
    """A head and its classes, as `save_head` or `Classifier.save` wrote them; DataError if there are none."""
    head, classes, _ = _read(Path(folder))
    return head, classes


def _listed(rows: Any, kind: str) -> list[Any]:
    """The rows as a list of texts (encoded images); DataError for anything else."""
    wanted, name = (str, "texts") if kind == "text" else (bytes, "encoded images, as bytes")
    if isinstance(rows, (str, bytes, bytearray, memoryview, os.PathLike)) or not isinstance(rows, Iterable):
        one = isinstance(rows, (str, bytes))
        raise DataError(
            f"must be a list of {name}{', not a single one' if one else ''}",
            key="rows",
            value=rows if not isinstance(rows, bytes) else rows[:16],
            mend="Put it in brackets: [row]" if one else None,
        )
    if isinstance(rows, dict):
        raise DataError(f"must be a list of {name}, not a mapping", key="rows", value=sorted(map(str, rows))[:8])
    listed = list(rows)
    for number, row in enumerate(listed):
        if not isinstance(row, wanted):
            raise RowError(
                f"is no {'text' if kind == 'text' else 'encoded image'} but a {type(row).__name__}",
                row=number,
                value=row,
                mend=f"Give a list of {name}",
            )
    # Texts of numpy and bytes of arrow are subclasses that not every library takes.
    return [wanted(row) if type(row) is not wanted else row for row in listed]


def _write_head(folder: Path, head: Head, classes: Sequence[str], encoder: dict[str, Any] | None) -> None:
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


def _write_files(folder: str | Path, write: Callable[[Path], None]) -> None:
    """Have files written beside a folder, then moved into it: all are whole there, the record last."""
    if not str(folder).strip():
        raise RunDirectoryError("is empty", key="folder", value=str(folder), mend="Name a folder")
    try:
        folder = Path(folder).expanduser().absolute()
    except RuntimeError:
        raise RunDirectoryError("begins with a user that is not known", key="folder", value=str(folder)) from None
    if not folder.name:
        raise RunDirectoryError("is no folder for a classifier", key="folder", value=str(folder), mend="Name another")
    temporary = folder.with_name(f".{folder.name[:150]}.{uuid.uuid4().hex}.tmp")
    try:
        _check_own(folder)
        temporary.mkdir(parents=True)
        write(temporary)
        folder.mkdir(exist_ok=True)
        for path in sorted(temporary.iterdir(), key=lambda path: path.name == _RECORD):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            else:
                path.replace(folder / path.name)
    except AsvpError:
        raise
    except Exception as error:
        # transformers, tokenizers and safetensors each raise their own: OSError, Exception, SafetensorError.
        raise _write_error(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_own(folder: Path) -> None:
    """RunDirectoryError if the folder holds something, and no classifier's record among it."""
    if not os.path.lexists(folder):
        return
    if not folder.is_dir():
        raise RunDirectoryError("is a file, not a folder", key="folder", value=str(folder), mend="Name another folder")
    holds = sorted(path.name for path in folder.iterdir())
    if not holds:
        return
    try:
        record = parse_json((folder / _RECORD).read_text(encoding="utf-8"))
        own = isinstance(record, dict) and "format" in record and "classes" in record
    except (OSError, ValueError):
        own = False
    if not own:
        raise RunDirectoryError(
            f"is not empty, and what lies there ({holds[0]}) is no saved classifier",
            key="folder",
            value=str(folder),
            mend="Name a new or empty folder",
        )


def _write_error(folder: Path, error: Exception) -> AsvpError:
    if is_full(error):
        return StorageError("the disk is full", key="folder", value=str(folder), mend="Free space and save again")
    return RunDirectoryError(f"cannot be written: {first_line(error)}", key="folder", value=str(folder))


def _read(folder: Path) -> tuple[Head, tuple[str, ...], dict[str, Any] | None]:
    try:
        record = parse_json((folder / _RECORD).read_text(encoding="utf-8"))
        version = record["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _no_classifier(folder, error) from None
    if not isinstance(version, int) or version > _FORMAT:
        raise DataError("was written by a newer asvp", key="folder", value=str(folder), mend="Upgrade asvp")
    try:
        head = Head.from_state(load_file(folder / _HEAD))
        classes, encoder = tuple(record["classes"]), record["encoder"]
    except Exception as error:
        # A head that is damaged: SafetensorError, OSError, KeyError, ValueError.
        raise _no_classifier(folder, error) from None
    shapes = (head.weight.shape[:1], head.bias.shape)
    if head.weight.ndim != 2 or shapes != ((len(classes),), (len(classes),)):
        raise _no_classifier(folder, ValueError(f"its head {head.weight.shape} is not one of {len(classes)} classes"))
    if not np.isfinite(head.weight).all() or not all(isinstance(name, str) for name in classes):
        raise _no_classifier(folder, ValueError("its head or its classes are damaged"))
    return head, classes, encoder


def _no_classifier(folder: str | Path, error: Exception) -> DataError:
    return DataError(
        f"holds no classifier: {first_line(error)}", key="folder", value=str(folder), mend="Give a run's folder model/"
    )
