"""The final model of a run, saved for use."""

from __future__ import annotations

from asvp.compute import Backend, TrainedModel
from asvp.compute.jobs import PackJob
from asvp.compute.packed import unpack
from asvp.driver.prepared import Prepared
from asvp.record.run_directory import RunDirectory


def save_final_model(directory: RunDirectory, prepared: Prepared, backend: Backend, model: TrainedModel) -> None:
    """Save encoder and head as `asvp.models.Classifier.load` reads them; model/ is replaced as a whole.

    A worker makes the files, and they are written here: it need not see the directory. For ready-made features there
    is no encoder, and the head alone is saved.

    Raises
    ------
    RunDirectoryError
        If model/ holds what asvp did not write; nothing of it is removed.
    WorkError
        If the disk is full.
    """
    job = PackJob(prepared.encoder, model.head, model.weights, prepared.dataset.classes)
    files = backend.do(job).kept.load()
    directory.replace_model(lambda folder: unpack(files, folder))
