"""The command lines that made a run or a sweep, kept in its directory: `commands.jsonl`, a line a call."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asvp
from asvp.files import parse_json, write_atomically
from asvp.notebook import in_notebook
from asvp.redaction import redact

COMMANDS = "commands.jsonl"


@dataclass(frozen=True)
class Command:
    """A call that began a run or a sweep, or went on with it.

    Attributes
    ----------
    at : str
        When, in UTC, as ISO 8601 has it.
    asvp : str
        The version.
    command : str
        As it can be typed again, without secrets.
    """

    at: str
    asvp: str
    command: str


def this_command() -> str:
    """How this process was called, without secrets: `asvp ...`, or a program of a user's own."""
    if in_notebook():
        return "(a cell of a notebook)"
    script = Path(sys.argv[0] if sys.argv else "")
    by_module = script.name == "__main__.py" and script.parent.name == "asvp"
    if script.name == "asvp" or by_module:
        return redact(shlex.join(["asvp", *sys.argv[1:]]))
    return redact(shlex.join(["python", *sys.orig_argv[1:]]))


def note_command(folder: Path, *, write: Callable[[Path, Callable[[Path], Any]], None] = write_atomically) -> None:
    """Add how this process was called to a directory's commands (by `write`).

    Raises
    ------
    RunDirectoryError, WorkError
        If it cannot be written.
    """
    path = folder / COMMANDS
    now = Command(datetime.now(UTC).isoformat(timespec="seconds"), asvp.__version__, this_command())
    lines = [json.dumps(asdict(one)) + "\n" for one in (*read_commands(folder), now)]
    write(path, lambda temporary: temporary.write_text("".join(lines), encoding="utf-8"))


def read_commands(folder: Path) -> list[Command]:
    """What was called there, oldest first; none of earlier versions, and none that cannot be read."""
    try:
        lines = (folder / COMMANDS).read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    return [one for line in lines if (one := _read(line)) is not None]


def _read(line: str) -> Command | None:
    try:
        told = parse_json(line)
        return Command(str(told["at"]), str(told["asvp"]), str(told["command"]))
    except (ValueError, TypeError, KeyError):
        return None
