"""The `asvp` command: its parts put together, and what ends it."""

from __future__ import annotations

import os
import sys

# Before anything imports Ray or transformers: no usage reports, no new-style tables, no advice in the output.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import click

from asvp import __version__
from asvp.cli.cache import cache
from asvp.cli.check import check
from asvp.cli.extract import extract
from asvp.cli.report import report
from asvp.cli.run import run
from asvp.cli.spaces import spaces
from asvp.cli.strategies import strategies
from asvp.cli.sweep import sweep
from asvp.errors import AsvpError


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asvp")
def cli() -> None:
    """Active learning by proxy with pre-trained encoders, on Ray."""


for command in (run, sweep, extract, cache, report, strategies, spaces, check):
    cli.add_command(command)


def main() -> None:
    """Entry point: 0 done, 2 bad input, 1 anything else."""
    try:
        cli(standalone_mode=False)
    except AsvpError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; finished rounds and shards are kept, and --resume goes on", 1)


def _fail(message: str, code: int) -> None:
    print(f"asvp: {message}", file=sys.stderr)
    sys.exit(code)
