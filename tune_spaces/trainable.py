"""One trial of a sweep: a thin driver, told by Ray Tune what to run and telling it of every round.

Nothing imported here imports PyTorch: what needs it is done by the workers of the pool.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from asvp.actors.backend import PoolBackend
from asvp.actors.pool import Pool
from asvp.driver.feature_versions import VersionZero
from asvp.driver.loop import run
from asvp.driver.prepared import Prepared
from asvp.files import write_json
from asvp.folders import make_folder
from asvp.progress import SilentReporter
from asvp.record.run_directory import RunDirectory


def run_trial(
    choice: Mapping[str, Any],
    prepared: Mapping[str, Prepared],
    arms: Mapping[str, str],
    features: Mapping[str, VersionZero],
    pool: Pool,
    runs: str,
) -> None:
    """Run a trial in its run directory; begun before, it goes on where its checkpoint is.

    Parameters
    ----------
    choice : mapping
        {"trial": name}: what Ray Tune varies.
    prepared, arms, features : mappings by the trial's name
    pool : Pool
        Of workers, which all trials share.
    runs : str
        Folder of all run directories.
    """
    # No GPU is for a driver, whatever it imports.
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    name = choice["trial"]
    one = prepared[name]
    folder = Path(runs) / name
    reporter = SilentReporter()
    directory = RunDirectory(folder)
    resume = directory.holds_run
    directory.check(resume=resume)
    make_folder(folder)
    write_json(folder / "arm.json", {"arm": arms[name], "place": list(arms).index(name)})
    backend = PoolBackend(pool, one.encoder, one.cache, reporter, name)
    try:
        result = run(
            one.config,
            out=folder,
            resume=resume,
            prepared=one,
            backend=backend,
            features=features.get(name),
            reporter=reporter,
            on_round=_report,
        )
    finally:
        backend.close()
    # A trial that was finished before reports its end again, so that Tune knows it too.
    _report({**result.rounds[-1], "done": True})


def _report(record: Mapping[str, Any]) -> None:
    tune.report(json.loads(json.dumps(record)))
