"""The page of runs that go on, written anew when they have news."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from asvp.errors import RunDirectoryError
from asvp.remote.copies import named
from asvp.report.comparison import compare_records
from asvp.report.page.beside import read_beside
from asvp.report.page.page import NAME
from asvp.report.records import read_records

SECONDS = 5.0
RELOAD_SECONDS = 10
_TOLD = ("rounds.jsonl", "summary.json", "stopped.json")


def watch(
    folders: Sequence[str], out: str, *, say: Callable[[str], None], sleep: Callable[[float], None] = time.sleep
) -> Path:
    """Write tables, figures and report.html whenever a run has finished a round, until all have come to their end.

    Parameters
    ----------
    folders : sequence of str
        Run and sweep directories.
    out : str
        Where the page goes.
    say : callable
        Told once where the page is.
    sleep : callable
        Waits some seconds.

    Returns
    -------
    Path
        The page, which no longer loads itself again.
    """
    page, before, told = Path(out) / NAME, None, False
    while True:
        now = _state(folders)
        if now != before:
            before = now
            over = _write(folders, out)
            if over is not None and not told:
                say(f"Open {named(page)}: it loads itself again; Ctrl-C ends watching")
                told = True
            if over:
                return page
        sleep(SECONDS)


def _write(folders: Sequence[str], out: str) -> bool | None:
    """Whether all is over; None while there is nothing to show."""
    unread: dict[Path, str] = {}
    try:
        records = read_records(folders, unread=unread)
    except RunDirectoryError:
        if not all(Path(folder).is_dir() for folder in folders):
            raise
        return None
    over = all(run.finished or run.stopped for run in records) and all(map(_nothing_waits, folders))
    beside = read_beside(folders, unread)
    compare_records(records, out, beside=beside, reload=None if over else RELOAD_SECONDS)
    return over


def _nothing_waits(folder: str) -> bool:
    """Whether no run of the folder lies there without a finished round."""
    runs = [path.parent for path in Path(folder).glob("runs/*/config.yaml")] or [Path(folder)]
    return (
        all(any((run / name).exists() for name in _TOLD[1:]) for run in runs)
        or (Path(folder) / "runs").is_dir() is False
    )


def _state(folders: Sequence[str]) -> dict[str, int]:
    """When the files that tell of runs were last written."""
    found = [path for folder in folders for name in _TOLD for path in Path(folder).glob(f"**/{name}")]
    state = {}
    for path in found:
        try:
            state[str(path)] = path.stat().st_mtime_ns
        except OSError:
            continue
    return state
