"""`asvp report`: finished runs compared."""

from __future__ import annotations

import click

from asvp.cli.options import OUT, json_option
from asvp.errors import ConfigError


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option("--out", help="Where tables and figures go; default: nowhere.")
@click.option("--watch", is_flag=True, help="Write tables, figures and report.html anew whenever runs have news.")
@json_option
def report(directories: tuple[str, ...], out: str | None, watch: bool, as_json: bool) -> None:
    """Compare finished runs or sweeps: curves, savings, time and cost."""
    from asvp.report.comparison import compare

    if watch:
        from asvp.report.watching import watch as watch_runs

        if out is None and len(directories) > 1:
            raise ConfigError("needs a folder for the page of several", key="--watch", mend="Add --out DIR")
        page = watch_runs(list(directories), out or directories[0], say=lambda text: OUT.print(text, soft_wrap=True))
        OUT.print(f"All runs have come to their end: {page}", soft_wrap=True)
        return

    comparison = compare(list(directories), out)
    if as_json:
        OUT.print_values(comparison.to_json())
    else:
        comparison.print(OUT)
