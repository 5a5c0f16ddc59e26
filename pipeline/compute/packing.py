"""The final model as files that can travel."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asvp.compute.jobs import PackJob
from asvp.models.classifier import Classifier, save_head
from asvp.models.encoder import Encoder
from asvp.scratch import scratch_folder


def pack(job: PackJob) -> dict[str, NDArray[np.uint8]]:
    """The files that `asvp.models.Classifier.load` reads, by their paths in the folder; an array of bytes each.

    For ready-made features there is no encoder, and the head alone is packed.
    """
    with scratch_folder() as above:
        made = above / "model"
        if job.encoder.kind == "features":
            save_head(made, job.head, job.classes)
        else:
            # Nothing is decoded or encoded here, so that it does not matter whether the workers' ways are possible.
            plain = job.encoder.config.model_copy(update={"decode": "pil", "compile": False})
            encoder = Encoder.load(plain, job.encoder.kind, device="cpu")
            encoder.config = job.encoder.config
            if job.weights is not None:
                encoder.load_state(job.weights.load())
            Classifier(encoder, job.head, job.classes).save(made)
        return {
            path.relative_to(made).as_posix(): np.fromfile(path, np.uint8)
            for path in sorted(made.rglob("*"))
            if path.is_file()
        }
