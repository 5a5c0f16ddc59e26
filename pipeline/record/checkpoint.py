"""The checkpoint of a run: small, atomic, without pickles.

`state.json` is written last and decides what counts: rows and rounds beyond the round it names are dropped on resume.
The weights of the current feature version lie beside it, written once a refresh.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from asvp.compute.jobs import HeldWeights, TrainedModel
from asvp.errors import RunDirectoryError
from asvp.files import write_atomically, write_json
from asvp.models.proxy import Head

FORMAT = 1


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
    last_refresh : int or None
        Round of the last refresh.
    model : str or None
        Key of the fine-tuned model whose features are current.
    features : str
        Fingerprint of the pool's current features.
    ledger : dict
    """

    rounds: int
    readings: list[list[Any]] = field(default_factory=list)
    refreshes: int = 0
    last_refresh: int | None = None
    model: str | None = None
    features: str = ""
    ledger: dict[str, Any] = field(default_factory=dict)


def save_checkpoint(folder: Path, checkpoint: Checkpoint, model: TrainedModel | None) -> None:
    """Write a checkpoint; files of earlier feature versions go only after it is complete."""
    keep = None
    if model is not None:
        keep = folder / f"model-{model.key}.safetensors"
        if not keep.exists():
            arrays = {"head.weight": model.head.weight, "head.bias": model.head.bias}
            if model.weights is not None:
                arrays |= {f"encoder.{name}": array for name, array in model.weights.load().items()}
            contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
            write_atomically(keep, lambda path: save_file(contiguous, path))
    write_json(folder / "state.json", {"format": FORMAT, **asdict(checkpoint)})
    for path in folder.glob("model-*.safetensors"):
        if path != keep:
            path.unlink(missing_ok=True)


def load_checkpoint(folder: Path) -> tuple[Checkpoint, TrainedModel | None] | None:
    """Read a checkpoint, with the model of its feature version; None if no round was finished.

    Raises
    ------
    RunDirectoryError
        If it is damaged or of a newer version.
    """
    path = folder / "state.json"
    if not path.exists():
        return None
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        if stored.pop("format") > FORMAT:
            raise RunDirectoryError("was made by a newer version", key=str(path), mend="Update asvp")
        checkpoint = Checkpoint(**stored)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RunDirectoryError(f"is no checkpoint: {error}", key=str(path)) from None
    return checkpoint, None if checkpoint.model is None else _load_model(folder, checkpoint.model)


def _load_model(folder: Path, key: str) -> TrainedModel:
    path = folder / f"model-{key}.safetensors"
    try:
        arrays = load_file(path)
    except (OSError, ValueError) as error:
        raise RunDirectoryError(f"cannot be read: {error}", key=str(path)) from None
    encoder = {name.removeprefix("encoder."): array for name, array in arrays.items() if name.startswith("encoder.")}
    head = Head(arrays["head.weight"], arrays["head.bias"])
    return TrainedModel(key, "ft", head, HeldWeights(key, encoder), seconds=0.0, reused=True)
