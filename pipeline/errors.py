"""The errors a user can meet: one small hierarchy, every message naming key, value and mend."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from asvp.redaction import redact, redacted

_LONGEST = 2000


class AsvpError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    message : str
        What is wrong, in one sentence.
    key : str, optional
        The config key, column, file or argument that is at fault, as the user writes it.
    value : object, optional
        What was got there; shown shortened.
    mend : str, optional
        What the user can do about it.
    """

    exit_code = 2
    """Exit status of the `asvp` command for this error: 2 for bad input, 1 for a failure at work."""

    def __init__(self, message: str, *, key: str | None = None, value: Any = None, mend: str | None = None) -> None:
        # An error is printed, logged, kept in files and sent to other processes: here is where it loses its secrets.
        message, mend = _bounded(redact(message)), None if mend is None else _bounded(redact(mend))
        super().__init__(message)
        self.message = message
        self.key = key
        self.value = redacted(value)
        self.mend = mend

    def __str__(self) -> str:
        head = f"{self.key}: {self.message}" if self.key else self.message
        got = f" (got {_shorten(self.value)})" if self.value is not None else ""
        return f"{head}{got}" + (f". {self.mend}" if self.mend else "")

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.key, self.value, self.mend)


class ConfigError(AsvpError):
    """A configuration that cannot be run: an unknown key, a wrong type, a contradiction."""


class DataError(AsvpError):
    """Rows, labels or columns that cannot be used."""


class RowError(DataError):
    """One row that cannot be used, on its way up: whoever knows the row by a better name raises it again with that.

    Parameters
    ----------
    message : str
        What is wrong with the row.
    row : int
        Its number in the source or list that was asked.
    place : str, optional
        Where the row lies, as far as it is known: a file, a row of a file, an address.
    """

    def __init__(
        self,
        message: str,
        *,
        row: int,
        place: str | None = None,
        key: str | None = None,
        value: Any = None,
        mend: str | None = None,
    ) -> None:
        where = f"row {row}" if place is None else f"row {row} ({place})"
        super().__init__(f"{where}: {message}", key=key, value=value, mend=mend)
        self.problem = redact(message)
        self.row = row
        self.place = None if place is None else redact(place)

    def moved(self, row: int) -> RowError:
        """The same error with another row number."""
        return RowError(self.problem, row=row, place=self.place, key=self.key, value=self.value, mend=self.mend)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild_row, (self.problem, self.row, self.place, self.key, self.value, self.mend)


class EncoderError(AsvpError):
    """An encoder that cannot be found, loaded or used for this kind of data."""


class SelectionError(AsvpError):
    """A selection that cannot be made: an unknown strategy, a missing or ill-shaped input."""


class BudgetError(SelectionError):
    """More rows asked for than there are unlabelled rows."""


class CacheError(AsvpError):
    """A feature cache that cannot be read, written or trusted."""


class RunDirectoryError(AsvpError):
    """An output directory that is in use, not writable, or holds another run."""


class SupersededError(RunDirectoryError):
    """An output directory that a newer process has taken over; nothing was written there."""

    exit_code = 1


class ClusterError(AsvpError):
    """A Ray cluster that does not answer or cannot hold the resources asked for."""


class WorkError(AsvpError):
    """Work that was started and could not be finished (the input was not at fault)."""

    exit_code = 1


class StorageError(WorkError):
    """A disk that is full, or storage that went away: whatever is written there next fails too."""


class LostError(WorkError):
    """Features or weights that were lost with a node, and can be made again."""


class TeamLostError(LostError):
    """A process that trained a model together with others has ended, or does not answer: others can begin anew."""


class PoolLostError(WorkError):
    """The pool of workers is gone, or this process's way to it: nothing that the work itself did."""


class HeadLostError(PoolLostError):
    """The head of the Ray cluster is gone, and with it the cluster."""


class DeviceMemoryError(WorkError):
    """Work for which a GPU's memory is not enough; fewer rows at a time may fit."""


def did_you_mean(given: object, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """A question after the known name that is most like what was given, to begin a mend with; nothing where none is."""
    near = difflib.get_close_matches(str(given), list(known), n=1, cutoff=cutoff)
    return f"Did you mean {near[0]}? " if near else ""


def first_line(error: BaseException) -> str:
    """What an error from outside says, in one line that is not too long, without secrets and a full stop."""
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        # fsspec's web client says the address only; what it failed of stands behind.
        error = error.__cause__
    lines = [line.strip() for line in redact(str(error)).splitlines() if line.strip()] or [type(error).__name__]
    # The hub's strict dataclasses put what is wrong into the second line.
    text = (" ".join(lines[:2]) if lines[0].endswith(":") else lines[0]).rstrip(".")
    return text if len(text) <= 300 else f"{text[:297]}..."


def one_line(text: str) -> str:
    """Text from outside as one line that a terminal shows and does not obey: control characters as escapes."""
    return "".join(letter if letter.isprintable() else _escaped(letter) for letter in text)


def _escaped(letter: str) -> str:
    return letter.encode("unicode_escape").decode("ascii")


def _rebuild(kind: type[AsvpError], message: str, key: str | None, value: Any, mend: str | None) -> AsvpError:
    return kind(message, key=key, value=value, mend=mend)


def _rebuild_row(problem: str, row: int, place: str | None, key: str | None, value: Any, mend: str | None) -> RowError:
    return RowError(problem, row=row, place=place, key=key, value=value, mend=mend)


def _bounded(text: str) -> str:
    """A text that a person would still read: what comes from a file, such as a column's name, may be of any length."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."


def _shorten(value: Any, width: int = 120) -> str:
    try:
        text = redact(repr(value))
    except (ValueError, RecursionError):
        # Python writes out no whole number of more than 4,300 digits, and nothing that is nested too deeply.
        text = f"a {type(value).__name__} that is too long to be shown"
    return text if len(text) <= width else f"{text[: width - 3]}..."
