"""The final model of a run, saved for use."""

from __future__ import annotations

import shutil
import uuid
from pathlib import Path

from asvp.compute.jobs import TrainedModel
from asvp.config import Config
from asvp.data import Dataset
from asvp.models.classifier import Classifier, save_head
from asvp.models.encoder import Encoder


def save_final_model(folder: Path, config: Config, dataset: Dataset, model: TrainedModel) -> None:
    """Save encoder and head as `asvp.models.Classifier.load` reads them; the folder is replaced as a whole.

    For ready-made features there is no encoder, and the head alone is saved.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    temporary.mkdir(parents=True)
    if dataset.kind == "features":
        save_head(temporary, model.head, dataset.classes)
    else:
        encoder = Encoder.load(config.encoder, dataset.kind, device="cpu")
        if model.weights is not None:
            encoder.load_state(model.weights.load())
        Classifier(encoder, model.head, dataset.classes).save(temporary)
    shutil.rmtree(folder, ignore_errors=True)
    temporary.rename(folder)
