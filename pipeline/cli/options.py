"""Options that several commands share, and where their results are printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import Console

from asvp.errors import WorkError

if TYPE_CHECKING:
    from asvp.progress import Reporter

Command = TypeVar("Command", bound=Callable[..., Any])


class _Out(Console):
    """Standard output: what is printed is text, never markup, and a reader who has gone is an error to its caller."""

    def __init__(self) -> None:
        # A pipe has no width of its own; tables need more than the 80 columns that rich would assume.
        terminal = sys.stdout is not None and sys.stdout.isatty()
        super().__init__(highlight=False, markup=False, emoji=False, width=None if terminal else 120)

    def on_broken_pipe(self) -> None:
        """Leave the error that is being handled to the command, which ends in peace."""
        raise BrokenPipeError

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, and what is wider than the terminal whole; a WorkError where that fails."""
        with _printed():
            super().print(*objects, **{"crop": False, **options})

    def print_values(self, values: Any) -> None:
        """Print plain values as JSON, on one line; a WorkError where that fails."""
        with _printed():
            print(json.dumps(values), flush=True)


@contextmanager
def _printed() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise WorkError(f"standard output cannot be written: {error.strerror or error}") from None


OUT = _Out()


def config_options(command: Command) -> Command:
    """-s key=value, any number of times."""
    return click.option("-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option.")(
        command
    )


def json_option(command: Command) -> Command:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")(command)


def log_format_option(command: Command) -> Command:
    """--log-format."""
    choice = click.Choice(["text", "json"])
    return click.option(
        "--log-format", type=choice, default="text", help="What is told on standard error: json is a line each."
    )(command)


def reporter_of(log_format: str, **ids: str) -> Reporter:
    """Where the news of a command go.

    Parameters
    ----------
    log_format : str
        "text" or "json".
    ids : str
        What every line of JSON carries, such as sweep=DIR.
    """
    from asvp.json_log import JsonReporter
    from asvp.progress import reporter_for

    return JsonReporter(ids) if log_format == "json" else reporter_for()


def address_option(command: Command) -> Command:
    """--address."""
    return click.option(
        "--address", metavar="HOST:PORT", help="Ray cluster; by default this machine's, started if there is none."
    )(command)
