"""The jobs of a run, written down as they end: who did each of them when, and what it cost."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from asvp.report.job_lines import JOBS, Begun, JobLine


class JobLog:
    """Adds a line to `jobs.jsonl` for every job, whichever thread had it done.

    It is there to be looked at, and nothing depends on it: a disk that takes no line ends no run, and is told of once.

    Parameters
    ----------
    folder : Path, optional
        The directory of a run or a sweep; None writes nothing.
    require : callable, optional
        Raises where the folder is this process's no longer.
    say : callable, optional
        Told why nothing can be written.

    Attributes
    ----------
    round : int or None
        In progress; None where no round is charged, as when a run is taken up, or a sweep shares what is made.
    """

    def __init__(
        self,
        folder: Path | None = None,
        *,
        require: Callable[[], None] = lambda: None,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.round: int | None = 0
        self._path = None if folder is None else folder / JOBS
        self._require = require
        self._say = say
        self._lock = threading.Lock()
        self._begun = Begun(uuid.uuid4().hex[:8])
        self._count = 0

    def go_on(self, rounds: int, owed: Sequence[int]) -> None:
        """Before the first job: so many rounds are finished, and of some the final model is still to be made."""
        self._begun = replace(self._begun, rounds=rounds, owed=tuple(owed))
        self.round = None

    def note(self, what: str, stage: str, rows: int, *, number: int | None = None, **told: Any) -> None:
        """Write down a job that has ended.

        Parameters
        ----------
        what : str
            Such as "selection".
        stage : str
            Of the ledger.
        rows : int
            It was about.
        number : int, optional
            Of the round; None: the one in progress.
        told
            Further attributes of `JobLine`.
        """
        if self._path is None:
            return
        with self._lock:
            job = JobLine(
                attempt=self._begun.attempt,
                number=self._count,
                what=what,
                stage=stage,
                round=self.round if number is None else number,
                rows=rows,
                **told,
            )
            lines = [self._begun.to_json()] if self._count == 0 else []
            self._count += 1
            self._append(self._path, [*lines, job.to_json()])

    def _append(self, path: Path, lines: Sequence[Mapping[str, Any]]) -> None:
        self._require()
        # A line that a killed process, or a full disk, has left half does not take this one with it.
        content = "".join(f"{json.dumps(line, separators=(',', ':'))}\n" for line in lines)
        try:
            with path.open("ab+") as file:
                end = file.tell()
                file.seek(max(0, end - 1))
                torn = end > 0 and file.read(1) != b"\n"
                # In one piece, so that no other process writes between.
                file.write(b"\n" * torn + content.encode())
        except OSError as error:
            self._path = None
            self._say(f"{path} cannot be written, so no timeline will show what follows: {error.strerror}")
