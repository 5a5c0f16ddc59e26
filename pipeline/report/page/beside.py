"""What the page tells beside the records of runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from asvp.folders import settle
from asvp.report.commands import Command, read_commands
from asvp.report.trial_states import States, trial_states


@dataclass(frozen=True)
class Beside:
    """What the page tells beside the records of runs.

    Attributes
    ----------
    states : mapping of Path to TrialStatus
        How runs stand, those without a finished round among them; empty where nobody knows more than the records.
    commands : mapping of str to list of Command
        What was called to make them, by the name of a folder.
    """

    states: States = field(default_factory=dict)
    commands: dict[str, list[Command]] = field(default_factory=dict)


def read_beside(folders: Sequence[str | Path], unread: dict[Path, str]) -> Beside:
    """What run and sweep directories tell; `unread` as for `trial_states`."""
    places = dict.fromkeys(settle(folder, key="DIR") for folder in folders)
    return Beside(trial_states(folders, unread), {place.name: read_commands(place) for place in places})
