"""report.html, kept current while a sweep runs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import asvp
from asvp.errors import AsvpError
from asvp.folders import write_owned
from asvp.holds import Hold
from asvp.report.commands import read_commands
from asvp.report.comparison import page_of
from asvp.report.page.beside import Beside
from asvp.report.page.page import NAME, settled
from asvp.report.records import RunRecord, run_record
from asvp.report.results import TrialRounds
from asvp.report.status import TrialStatus
from asvp.tune_spaces.current_results import CurrentResults
from asvp.tune_spaces.live import LiveTable

FEWEST_SECONDS = 60.0
SHARE = 0.02
"""Of a core's time, the page takes no more than this, however many trials there are."""


class CurrentPage:
    """The page of the rounds that results.parquet tells, drawn by a thread of its own: nobody waits for it.

    Parameters
    ----------
    out : Path
        The sweep directory.
    hold : Hold
        Of it.
    results : CurrentResults
        Knows the rounds.
    table : LiveTable
        Knows how trials stand.
    say : callable
        Told, once, if the page cannot be written.
    """

    def __init__(
        self, out: Path, hold: Hold, results: CurrentResults, table: LiveTable, say: Callable[[str], None]
    ) -> None:
        self._out, self._hold = out, hold
        self._results, self._table = results, table
        self._say: Callable[[str], None] | None = say
        self._next = time.monotonic()
        self._seen: dict[str, TrialRounds] = {}
        self._records: dict[str, RunRecord] = {}
        self._thread: threading.Thread | None = None
        self._lock, self._ended = threading.Lock(), False

    def write_if_due(self) -> None:
        """Begin to write the page, if results are new and it was not written just now."""
        if self._thread is not None or time.monotonic() < self._next:
            return
        known = self._results.trials
        if any(one.rounds and one is not self._seen.get(name) for name, one in known.items()):
            self._thread = threading.Thread(
                target=self._draw, args=(known, self._table.trials), name="asvp page", daemon=True
            )
            self._thread.start()

    def end(self) -> None:
        """Write it no more; the page that is there no longer loads itself again."""
        with self._lock:
            self._ended = True
        page = self._out / NAME
        try:
            if page.is_file() and self._seen:
                self._put(settled(page.read_bytes()))
        except (AsvpError, OSError) as error:
            self._told(error)

    def _draw(self, known: Mapping[str, TrialRounds], states: Mapping[str, TrialStatus]) -> None:
        began = time.monotonic()
        try:
            self._write(known, states)
        except Exception as error:
            # Whatever goes wrong with the page, it is no reason to end a sweep.
            self._told(error)
        self._next = began + max(FEWEST_SECONDS, time.thread_time() / SHARE)
        self._thread = None

    def _write(self, known: Mapping[str, TrialRounds], states: Mapping[str, TrialStatus]) -> None:
        for name, one in known.items():
            if one is not self._seen.get(name):
                self._read(name, one)
                self._seen[name] = one
        runs = self._out / "runs"
        records = [self._records[name] for name in known if name in self._records]
        if not records:
            return
        beside = Beside({runs / name: one for name, one in states.items()}, {self._out.name: read_commands(self._out)})
        page = page_of(records, beside, reload=int(FEWEST_SECONDS))
        with self._lock:
            if not self._ended:
                self._put(page)

    def _read(self, name: str, one: TrialRounds) -> None:
        try:
            if one.rounds:
                self._records[name] = run_record(one, self._out / "runs" / name)
        except AsvpError as error:
            self._told(error)

    def _put(self, page: bytes) -> None:
        write_owned(self._out, {NAME: page}, version=asvp.__version__, key="--out", write=self._hold.write)

    def _told(self, error: Exception) -> None:
        say, self._say = self._say, None
        if say is not None:
            say(f"report.html cannot be kept current, and the sweep goes on: {error}")
