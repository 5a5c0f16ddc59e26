"""Options that several commands share, and where their results are printed."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click
from rich.console import Console

Command = TypeVar("Command", bound=Callable[..., Any])

# A pipe has no width of its own; tables need more than the 80 columns that rich would assume.
OUT = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def config_options(command: Command) -> Command:
    """-s key=value, any number of times."""
    return click.option("-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option.")(
        command
    )


def json_option(command: Command) -> Command:
    """--json."""
    return click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")(command)


def address_option(command: Command) -> Command:
    """--address."""
    return click.option(
        "--address", metavar="HOST:PORT", help="Ray cluster; by default this machine's, started if there is none."
    )(command)
