"""How every run of a comparison stands, those that have not finished a round among them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from asvp.folders import settle
from asvp.report.status import TrialStatus
from asvp.report.status_files import read_status

States = Mapping[Path, TrialStatus]
"""By run directory, as in `RunRecord.path`."""


def trial_states(folders: Sequence[str | Path], unread: Mapping[Path, str]) -> dict[Path, TrialStatus]:
    """How the runs of some run and sweep directories stand.

    Parameters
    ----------
    folders : sequence of str or Path
    unread : mapping of Path to str
        Runs that are there and cannot be read, and why: these are damaged, whatever their rounds say.
    """
    found: dict[Path, TrialStatus] = {}
    for folder in dict.fromkeys(Path(os.path.realpath(settle(given, key="DIR"))) for given in folders):
        of_run = (folder / "rounds.jsonl").is_file() or (folder / "config.yaml").is_file()
        if not of_run and not (folder / "runs").is_dir():
            # A table of results alone, which tells all that is known.
            continue
        trials = read_status(folder).trials
        found.update({folder if of_run else folder / "runs" / one.trial: one for one in trials})
    damaged = {path: TrialStatus(path.name, path.name, 0, "damaged") for path in unread} | {
        path: found[path] for path in unread if path in found
    }
    return found | {path: replace(one, state="damaged", reason=unread[path]) for path, one in damaged.items()}
