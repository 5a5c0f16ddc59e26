"""The final model of a run, saved for use."""

from __future__ import annotations

from pathlib import Path

from asvp.compute.jobs import TrainedModel
from asvp.config import Config
from asvp.data import Dataset
from asvp.models.classifier import Classifier, save_head
from asvp.models.encoder import Encoder
from asvp.record.run_directory import RunDirectory


def save_final_model(directory: RunDirectory, config: Config, dataset: Dataset, model: TrainedModel) -> None:
    """Save encoder and head as `asvp.models.Classifier.load` reads them; model/ is replaced as a whole.

    For ready-made features there is no encoder, and the head alone is saved.

    Raises
    ------
    RunDirectoryError
        If model/ holds what asvp did not write; nothing of it is removed.
    WorkError
        If the disk is full.
    """

    def fill(folder: Path) -> None:
        if dataset.kind == "features":
            save_head(folder, model.head, dataset.classes)
            return
        encoder = Encoder.load(config.encoder, dataset.kind, device="cpu")
        if model.weights is not None:
            encoder.load_state(model.weights.load())
        Classifier(encoder, model.head, dataset.classes).save(folder)

    directory.replace_model(fill)
