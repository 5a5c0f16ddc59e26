"""The `asvp` command: its parts put together, and what ends it."""

from __future__ import annotations

import os

# Before anything imports Ray or transformers: no usage reports, no new-style tables, and no new Ray that a last call of
# work beside an interrupted loop would start.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("RAY_ENABLE_AUTO_CONNECT", "0")
# Set, so that nobody is warned of forks; this program has none that tokenise.
os.environ["TOKENIZERS_PARALLELISM"] = "true"

import click

from asvp import __version__
from asvp.cli.cache import cache
from asvp.cli.check import check
from asvp.cli.ending import run_command
from asvp.cli.extract import extract
from asvp.cli.report import report
from asvp.cli.run import run
from asvp.cli.spaces import spaces
from asvp.cli.status import status
from asvp.cli.strategies import strategies
from asvp.cli.sweep import sweep


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asvp")
def cli() -> None:
    """Active learning by proxy with pre-trained encoders, on Ray."""


for command in (run, sweep, extract, cache, report, status, strategies, spaces, check):
    cli.add_command(command)


def main() -> None:
    """Entry point: 0 done, 2 bad input, 130 interrupted (143 by SIGTERM), 1 anything else."""
    run_command(lambda: cli(standalone_mode=False))
