"""What a run is built on, by digest: a run that is taken up again must find it as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import asvp
from asvp.driver.prepared import Prepared
from asvp.errors import RunDirectoryError
from asvp.features.cache import content_key
from asvp.record.checkpoint import Checkpoint

_CHANGED = "the data or the encoder have changed since this run was begun"


def built_on(prepared: Prepared) -> dict[str, str]:
    """Digests of everything outside the run directory that its rounds depend on, by a short name.

    The classes come first: labels are held by class number, so other classes make other labels.
    """
    dataset = prepared.dataset
    return {
        "asvp": asvp.__version__,
        "classes": content_key(list(dataset.classes)),
        "pool": dataset.pool.digest(),
        "test": dataset.test.digest(),
        "oracle": dataset.oracle.digest(),
        "device": prepared.device or "cpu",
        "test labels": hashlib.blake2b(dataset.test_labels.astype("<i8").tobytes(), digest_size=16).hexdigest(),
        "encoder": prepared.encoder_fingerprint,
    }


def require_unchanged(checkpoint: Checkpoint, prepared: Prepared, directory: Path) -> None:
    """Hold what a run was built on against what is there now.

    Raises
    ------
    RunDirectoryError
        If anything has changed; the message names it.
    """
    now = built_on(prepared)
    for name, digest in checkpoint.built_on.items():
        if name in now and now[name] != digest:
            raise _changed(name, digest, prepared, directory)


def _changed(name: str, before: str, prepared: Prepared, directory: Path) -> RunDirectoryError:
    data = prepared.config.data
    if name == "asvp":
        return RunDirectoryError(
            f"was begun with asvp {before}, and this is {asvp.__version__}, whose picks may be others",
            key=str(directory),
            mend=f"Go on with asvp {before}, or begin a new run",
        )
    if name == "device":
        words = {"cpu": "on CPUs", "cuda": "on GPUs"}
        return RunDirectoryError(
            f"was computed {words[before]}, and the workers would now do it {words[prepared.device or 'cpu']}, where "
            "features, and with them picks, differ a little",
            key=str(directory),
            mend=f"Go on {words[before]}, or begin a new run",
        )
    what, key, value = {
        "classes": ("the classes are others", "data.label", data.label),
        "pool": ("the rows of the pool, or the files that hold them, are others", "data.pool", data.pool),
        "test": ("the test rows, or the files that hold them, are others", "data.test", data.test),
        "oracle": (
            "labels of pool rows are others",
            "data.oracle" if data.oracle else "data.pool",
            data.oracle or data.pool,
        ),
        "test labels": ("labels of test rows are others", "data.test", data.test),
        "encoder": ("the encoder is another", "encoder.model", prepared.config.encoder.model),
    }[name]
    return RunDirectoryError(
        f"{what}: {_CHANGED}, which is in {directory}",
        key=key,
        value=value,
        mend="Put back what was there, or begin a new run",
    )
