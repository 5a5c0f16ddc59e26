"""The checkpoint of a run: small, atomic, without pickles.

`state.json` is written last and decides what counts: rows and rounds beyond the round it names are dropped on resume.
It holds a checksum of itself, digests of what it counts in the other files, and of what the run was built on. The
model of the current feature version lies beside it, written once a refresh; without its weights where the cache has
them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file, save_file

from asvp.compute.jobs import HeldWeights, TrainedModel
from asvp.errors import RunDirectoryError
from asvp.features.cache import content_key
from asvp.files import parse_json
from asvp.models.head import Head
from asvp.spent import NOTHING

FORMAT = 3
_WITHOUT_DIGESTS = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on, beside its labelled rows.

    Attributes
    ----------
    rounds : int
        Finished rounds.
    readings : list
        Indicators of those rounds, as `asvp.alignment.policy.Reading`.
    refreshes : int
        Those whose features are, or were, in use.
    attempts : list
        All refreshes, as `asvp.alignment.policy.Attempt`.
    model : str or None
        Key of the fine-tuned model whose features are current.
    features : str
        Fingerprint of the pool's current features.
    ledger : dict
    built_on : dict of str to str
        Digests of data, labels and encoder, and the version; empty in a checkpoint of an earlier format.
    files : dict of str to str
        Digests of what the finished rounds left in other files; empty in a checkpoint of an earlier format.
    files_to_come, ledger_to_come : dict
        The same, once final models of finished rounds that have arrived since are entered in the files; empty where
        none is being entered.
    """

    rounds: int
    readings: list[list[Any]] = field(default_factory=list)
    refreshes: int = 0
    attempts: list[list[Any]] = field(default_factory=list)
    model: str | None = None
    features: str = ""
    ledger: dict[str, Any] = field(default_factory=dict)
    built_on: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    files_to_come: dict[str, str] = field(default_factory=dict)
    ledger_to_come: dict[str, Any] = field(default_factory=dict)


class Files(Protocol):
    """Who writes and removes files of a run's directory: its `RunDirectory`."""

    def write(self, path: Path, write: Callable[[Path], Any]) -> None:
        """Have a file written, whole or not at all."""
        ...

    def remove(self, path: Path) -> None:
        """Remove a file, if it is there."""
        ...


def save_checkpoint(
    folder: Path, checkpoint: Checkpoint, model: TrainedModel | None, directory: Files, *, cached: bool = False
) -> None:
    """Write a checkpoint; files of earlier feature versions go only after it is complete.

    Parameters
    ----------
    folder : Path
    checkpoint : Checkpoint
    model : TrainedModel or None
        Whose features are current.
    directory : Files
        Writes and removes files of the run's directory.
    cached : bool
        Whether the cache has the model's weights, so that they need not be written here.

    Raises
    ------
    StorageError
        If the disk is full.
    SupersededError
        If a newer process has taken the directory over.
    """
    keep = None
    digest = None
    if model is not None:
        keep = _model_file(folder, model.key)
        digest = _known_digest(folder, model.key) if keep.exists() else None
        if digest is None:
            arrays = {"head.weight": model.head.weight, "head.bias": model.head.bias}
            if model.weights is not None and not cached:
                arrays |= {f"encoder.{name}": array for name, array in model.weights.load().items()}
            contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            directory.write(keep, lambda path: save_file(contiguous, path))
            digest = _file_digest(keep)
    content = {"format": FORMAT, **asdict(checkpoint), "model_digest": digest}
    state = json.dumps({**content, "checksum": content_key(content)}, indent=2) + "\n"
    directory.write(folder / "state.json", lambda path: path.write_text(state, encoding="utf-8"))
    for path in folder.glob("model-*.safetensors"):
        if path != keep:
            directory.remove(path)


def load_checkpoint(folder: Path) -> tuple[Checkpoint, TrainedModel | None] | None:
    """Read a checkpoint, with the model of its feature version; None if no round was finished.

    The model has no weights where they were left to the cache.

    Raises
    ------
    RunDirectoryError
        If it is damaged or of a newer version.
    """
    path = folder / "state.json"
    if not path.exists():
        return None
    stored = _read_state(path)
    if stored["format"] > FORMAT:
        raise RunDirectoryError("was made by a newer version", key=str(path), mend="Update asvp")
    if stored["format"] > _WITHOUT_DIGESTS:
        checksum = stored.pop("checksum", None)
        if checksum != content_key(stored):
            raise _damaged(path, "its checksum differs")
    try:
        checkpoint = Checkpoint(**{one.name: stored[one.name] for one in fields(Checkpoint) if one.name in stored})
    except TypeError as error:
        raise _damaged(path, str(error)) from None
    if checkpoint.model is None:
        return checkpoint, None
    return checkpoint, _load_model(folder, checkpoint.model, stored.get("model_digest"))


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint that this or an earlier version wrote."""
    try:
        _read_state(folder / "state.json")
    except RunDirectoryError:
        return False
    return True


def _read_state(path: Path) -> dict[str, Any]:
    try:
        stored = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path, " ".join(str(error).split())) from None
    if not isinstance(stored, dict) or not {"format", "rounds", "ledger"} <= set(stored):
        raise _damaged(path, "it lacks format, rounds or ledger")
    numbers = (stored["format"], stored["rounds"])
    if not all(isinstance(number, int) and number > 0 for number in numbers):
        raise _damaged(path, "format and rounds are no counts")
    return stored


def _known_digest(folder: Path, key: str) -> str | None:
    """The digest of a model's file, if the checkpoint that is there tells it."""
    try:
        stored = _read_state(folder / "state.json")
    except RunDirectoryError:
        return None
    digest = stored.get("model_digest")
    return digest if stored.get("model") == key and isinstance(digest, str) else None


def _load_model(folder: Path, key: str, digest: str | None) -> TrainedModel:
    path = _model_file(folder, key)
    try:
        if digest is not None and _file_digest(path) != digest:
            raise _damaged(path, "its checksum differs")
        arrays: Mapping[str, Any] = load_file(path)
        head = Head(arrays["head.weight"], arrays["head.bias"])
    except RunDirectoryError:
        raise
    except Exception as error:
        # Whatever safetensors makes of bytes that were altered.
        raise _damaged(path, str(error)) from None
    encoder = {name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")}
    weights = HeldWeights(key, encoder) if encoder else None
    return TrainedModel(key, "ft", head, weights, NOTHING, reused=True)


def _file_digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _model_file(folder: Path, key: str) -> Path:
    return folder / f"model-{key}.safetensors"


def _damaged(path: Path, reason: str) -> RunDirectoryError:
    return RunDirectoryError(
        f"is missing or damaged: {reason}",
        key=str(path),
        mend="Put the file back as it was, or begin a new run",
    )
