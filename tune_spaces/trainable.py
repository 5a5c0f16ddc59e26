"""One trial of a sweep: the driver, told by Ray Tune what to run and telling it of every round."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray import tune

from asvp.actors.backend import RayBackend
from asvp.compute.placement import Placement
from asvp.config import Config
from asvp.driver.feature_versions import VersionZero
from asvp.driver.loop import run
from asvp.driver.preparation import prepare
from asvp.files import write_json
from asvp.folders import make_folder
from asvp.progress import SilentReporter
from asvp.record.run_directory import RunDirectory


def run_trial(
    choice: Mapping[str, Any],
    configs: Mapping[str, Config],
    arms: Mapping[str, str],
    features: Mapping[str, VersionZero],
    placements: Mapping[str, Placement],
    runs: str,
) -> None:
    """Run a trial in its run directory; begun before, it goes on where its checkpoint is.

    Parameters
    ----------
    choice : mapping
        {"trial": name}: what Ray Tune varies.
    configs, arms, features, placements : mappings by the trial's name
    runs : str
        Folder of all run directories.
    """
    name = choice["trial"]
    config = configs[name]
    folder = Path(runs) / name
    prepared = prepare(config)
    reporter = SilentReporter()
    backend = RayBackend(config.encoder, prepared.dataset.kind, placements[name], prepared.cache, reporter)
    directory = RunDirectory(folder)
    resume = directory.holds_run
    directory.check(resume=resume)
    make_folder(folder)
    write_json(folder / "arm.json", {"arm": arms[name], "place": list(arms).index(name)})
    result = run(
        config,
        out=folder,
        resume=resume,
        prepared=prepared,
        backend=backend,
        features=features.get(name),
        reporter=reporter,
        on_round=_report,
    )
    # A trial that was finished before reports its end again, so that Tune knows it too.
    _report({**result.rounds[-1], "done": True})


def _report(record: Mapping[str, Any]) -> None:
    tune.report(json.loads(json.dumps(record)))
