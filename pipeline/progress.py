"""What a person sees while work is under way: rich bars on a terminal, plain lines elsewhere, or nothing."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Protocol, TextIO

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from asvp.errors import AsvpError
from asvp.files import write_error
from asvp.notebook import in_notebook, shown_below_the_cell
from asvp.redaction import redact

SAY_AFTER_SECONDS = 15.0
"""How long something may be awaited before a person is told, and told again."""


class Task(Protocol):
    """A piece of work with a known size."""

    def advance(self, amount: int) -> None:
        """Tell that so much more is done."""
        ...


class Reporter(Protocol):
    """Where news of a run goes."""

    def task(self, title: str, total: int, unit: str) -> Any:
        """A context manager that yields a `Task`."""
        ...

    def say(self, text: str, **ids: Any) -> None:
        """One line of news; `ids` tell what it is about, such as trial="svp-seed0", to whoever reads them apart."""
        ...

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        """A finished round, as in rounds.jsonl, of a trial where there are several."""
        ...

    def table(self, draw: Callable[[int | None], Any]) -> Any:
        """A context manager that keeps a table in sight.

        It yields what is to be called when the table has changed; None where no table is shown, so that news has to
        be told in lines. `draw` gives the table as it is now, with at most so many rows: an object with
        `rich(folded=False)`, whose rows are lines where there is room for that, and `html()`.
        """
        ...


class SilentReporter:
    """Tells nothing."""

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        """Yield a task that goes unseen."""
        yield _Unseen()

    def say(self, text: str, **ids: Any) -> None:
        """Nothing."""

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        """Nothing."""

    def table(self, draw: Callable[[int | None], Any]) -> Any:
        """Show no table."""
        return nullcontext()


class PlainReporter:
    """Lines of text, for files and pipes; at most one line of progress every few seconds."""

    def __init__(self, stream: TextIO | None = None, every: float = 5.0) -> None:
        self._stream = stream or sys.stderr
        self._every = every
        self._deaf = False

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        """Yield a task that prints its rate now and then, and once at its end."""
        task = _PlainTask(self, title, total, unit, self._every)
        yield task
        task.finish()

    def say(self, text: str, **ids: Any) -> None:
        """Print a line; work goes on where nobody can hear of it any more (a pipe that was closed, a full disk)."""
        if self._deaf:
            return
        try:
            print(redact(text), file=self._stream, flush=True)
        except (OSError, ValueError):
            self._deaf = True

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        """Print a round as one line."""
        self.say(round_line(record, trial))

    def table(self, draw: Callable[[int | None], Any]) -> Any:
        """Show no table."""
        return nullcontext()


class NotebookReporter(PlainReporter):
    """Lines of text, and tables that change in place, below a notebook's cell."""

    def table(self, draw: Callable[[int | None], Any]) -> Any:
        """Keep a table in sight below the cell."""
        return shown_below_the_cell(lambda: draw(None).html())


class RichReporter:
    """Progress bars on a terminal."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(stderr=True)

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        """Yield a task with a bar, its rate and the time left."""
        columns = (
            # A title may hold names from outside, which are never markup.
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as progress:
            bar = progress.add_task(title, total=total, rate="")
            task = _RichTask(progress, bar, unit)
            yield task
        self.say(_closing_line(title, task.done, time.monotonic() - task.began, unit))

    def say(self, text: str, **ids: Any) -> None:
        """Print a line above any bar."""
        self._console.print(redact(text), highlight=False, markup=False, emoji=False)

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        """Print a round as one line."""
        self.say(round_line(record, trial))

    @contextmanager
    def table(self, draw: Callable[[int | None], Any]) -> Iterator[Callable[[], None]]:
        """Keep a table in sight at the bottom; what is said goes above it."""

        def render() -> Any:
            # Title, head, foot and note take lines too.
            return draw(max(3, self._console.height - 8)).rich(folded=False)

        with Live(get_renderable=render, console=self._console, refresh_per_second=1, transient=True) as live:
            yield live.refresh


class LoggedReporter:
    """Passes news on, and writes it with time and level to a log file, once there is one.

    Parameters
    ----------
    inner : Reporter
    """

    def __init__(self, inner: Reporter) -> None:
        self._inner = inner
        self._logger = logging.Logger("asvp.run", logging.DEBUG)
        self._logger.addHandler(logging.NullHandler())

    @contextmanager
    def to_file(self, path: Path, require: Callable[[], None]) -> Iterator[None]:
        """Append to a file for a while; an error that ends the block is logged with its traceback.

        Parameters
        ----------
        path : Path
        require : callable
            Raises where the file is no longer ours to write; such lines are let go.
        """
        try:
            handler = _LogFile(path, encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise write_error(error, path) from None
        handler.addFilter(lambda record: _passes(require))
        handler.setFormatter(_Discreet("%(asctime)s %(levelname)s %(message)s"))
        self._logger.addHandler(handler)
        try:
            yield
        except BaseException as error:
            self._logger.error("ended by %s: %s", type(error).__name__, error, exc_info=True)
            raise
        finally:
            self._logger.removeHandler(handler)
            handler.close()

    @contextmanager
    def task(self, title: str, total: int, unit: str) -> Iterator[Task]:
        """Yield a task; its beginning and end are logged."""
        self._logger.debug("%s: %d %s begun", title, total, unit)
        began = time.monotonic()
        with self._inner.task(title, total, unit) as task:
            yield task
        self._logger.info(_closing_line(title, total, time.monotonic() - began, unit))

    def say(self, text: str, **ids: Any) -> None:
        """Log a line, and pass it on."""
        self._logger.info(text)
        self._inner.say(text, **ids)

    def round(self, record: Mapping[str, Any], trial: str | None = None) -> None:
        """Log a round, and pass it on."""
        self._logger.info(round_line(record, trial))
        self._inner.round(record, trial)

    def table(self, draw: Callable[[int | None], Any]) -> Any:
        """Pass a table on."""
        return self._inner.table(draw)


def _passes(require: Callable[[], None]) -> bool:
    try:
        require()
    except AsvpError:
        return False
    return True


class _Discreet(logging.Formatter):
    """Lines, and what was raised, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """The whole entry."""
        return redact(super().format(record))


class _LogFile(logging.FileHandler):
    """A log that says nothing where it cannot be written: what matters is told by the files of the run."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Let the line go."""

    def close(self) -> None:
        """Let go what could not be written; the error that a full disk is for others must not be lost behind it."""
        with suppress(OSError):
            super().close()


def default_reporter() -> Reporter:
    """What a call from Python tells unless it is given a reporter: in a notebook what goes on, elsewhere nothing."""
    return NotebookReporter() if in_notebook() else SilentReporter()


def reporter_for(stream: TextIO | None = None) -> Reporter:
    """Bars where the stream (standard error) is a terminal, else plain lines; tables below the cell of a notebook."""
    if stream is None and in_notebook():
        return NotebookReporter()
    stream = stream or sys.stderr
    return RichReporter(Console(file=stream)) if stream.isatty() else PlainReporter(stream)


def round_line(record: Mapping[str, Any], trial: str | None = None) -> str:
    """A round in one line for a person."""
    parts = [f"{'' if trial is None else f'{trial}: '}round {record['round']}", f"{record['labelled']:,} labels"]
    for name, key in (("proxy", "proxy_accuracy"), ("final", "final_accuracy")):
        if record.get(key) is not None:
            parts.append(f"{name} {record[key]:.3f}")
    if record.get("refreshed"):
        parts.append("features refreshed")
    parts.append(f"{sum(record['seconds'].values()):.1f} s")
    return " · ".join(parts)


class _Unseen:
    def advance(self, amount: int) -> None:
        """Nothing."""


class _PlainTask:
    def __init__(self, reporter: PlainReporter, title: str, total: int, unit: str, every: float) -> None:
        self._reporter, self._title, self._total, self._unit, self._every = reporter, title, total, unit, every
        self._done = 0
        self._began = self._told = time.monotonic()

    def advance(self, amount: int) -> None:
        """Count, and print if it is time."""
        self._done += amount
        now = time.monotonic()
        if now - self._told >= self._every and self._done < self._total:
            self._told = now
            rate = self._done / max(now - self._began, 1e-9)
            left = (self._total - self._done) / max(rate, 1e-9)
            self._reporter.say(
                f"{self._title}: {self._done:,} of {self._total:,} {self._unit}, {rate:,.0f}/s, {left:,.0f} s left"
            )

    def finish(self) -> None:
        """Print the closing line."""
        self._reporter.say(_closing_line(self._title, self._done, time.monotonic() - self._began, self._unit))


class _RichTask:
    def __init__(self, progress: Progress, bar: Any, unit: str) -> None:
        self._progress, self._bar, self._unit = progress, bar, unit
        self.done = 0
        self.began = time.monotonic()

    def advance(self, amount: int) -> None:
        """Move the bar."""
        self.done += amount
        rate = self.done / max(time.monotonic() - self.began, 1e-9)
        self._progress.update(self._bar, advance=amount, rate=f"{rate:,.0f} {self._unit}/s")


def _closing_line(title: str, done: int, seconds: float, unit: str) -> str:
    return f"{title}: {done:,} {unit} in {seconds:.1f} s ({done / max(seconds, 1e-9):,.0f}/s)"
