"""`asvp report`: finished runs compared."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asvp.cli.options import OUT, json_option


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where tables and figures go; default: nowhere.")
@json_option
def report(directories: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Compare finished runs or sweeps: curves, savings, time and cost."""
    from asvp.report.comparison import compare

    comparison = compare(list(directories), out)
    if as_json:
        print(json.dumps(comparison.to_json()))
    else:
        comparison.print(OUT)
