"""`asvp report`: finished runs compared."""

from __future__ import annotations

import click

from asvp.cli.options import OUT, json_option


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option("--out", help="Where tables and figures go; default: nowhere.")
@json_option
def report(directories: tuple[str, ...], out: str | None, as_json: bool) -> None:
    """Compare finished runs or sweeps: curves, savings, time and cost."""
    from asvp.report.comparison import compare

    comparison = compare(list(directories), out)
    if as_json:
        OUT.print_values(comparison.to_json())
    else:
        comparison.print(OUT)
