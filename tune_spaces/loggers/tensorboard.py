"""Numbers of trials as TensorBoard's event files, in the sweep directory."""

from __future__ import annotations

import socket
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from asvp.files import write_error
from asvp.holds import Hold
from asvp.tune_spaces.loggers.events import encoded, first_event, point_event, read_points, session_events
from asvp.tune_spaces.loggers.points import Point
from asvp.tune_spaces.loggers.trial import LoggedTrial

FOLDER = "tensorboard"
"""In the sweep directory; a folder for each trial in it."""


class TensorBoard:
    """A `Destination` of event files: a folder a trial, and in it one file for each process that led the sweep.

    No file stays open, and none is another's: what a process that was fenced out might still add does not mix with
    what its successor writes.

    Parameters
    ----------
    out : Path
        The sweep directory.
    hold : Hold
        Of that directory.
    """

    wants_finished = True

    def __init__(self, out: Path, hold: Hold) -> None:
        self._folder = out / FOLDER
        self._hold = hold
        # TensorBoard reads files in the order of their names.
        self._file = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}.{uuid.uuid4().hex[:8]}"
        self._begun: set[str] = set()

    def holds(self, trial: LoggedTrial, points: Sequence[Point]) -> set[tuple[str, int]]:
        """Points that are in the trial's files."""
        try:
            return {point.key for path in self._files(trial) for point in read_points(path)}
        except OSError as error:
            raise write_error(error, self._folder / trial.name, "cannot be read") from None

    def write(self, trial: LoggedTrial, points: Sequence[Point]) -> None:
        """Add points to the trial's file.

        Raises
        ------
        SupersededError
            If the sweep directory was taken over; nothing is written.
        StorageError
            If the disk is full, or storage went away.
        """
        begin = []
        if trial.name not in self._begun:
            begin = [first_event(), session_events(trial.parameters)[0]]
        self._append(trial, [*begin, *map(point_event, points)])
        self._begun.add(trial.name)

    def ended(self, trial: LoggedTrial, failed: bool) -> None:
        """Say that a trial is finished. One that failed may be tried again, and what TensorBoard read first stays."""
        if not failed and trial.name in self._begun:
            self._append(trial, [session_events(trial.parameters)[1]])

    def close(self) -> None:
        """Nothing is open."""

    def _files(self, trial: LoggedTrial) -> list[Path]:
        return sorted((self._folder / trial.name).glob("*.tfevents.*"))

    def _append(self, trial: LoggedTrial, events: Sequence[Any]) -> None:
        self._hold.require()
        path = self._folder / trial.name / self._file
        try:
            if trial.name not in self._begun:
                path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("ab") as file:
                file.write(b"".join(map(encoded, events)))
        except OSError as error:
            raise write_error(error, path) from None
