"""`asvp report`: finished runs compared."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asvp.cli.options import OUT, json_option
from asvp.errors import ConfigError
from asvp.folders import read_marker, settle

if TYPE_CHECKING:
    from asvp.report.comparison import Comparison


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option("--out", help="Where tables, figures and report.html go; default: report.html alone, in DIR, or here.")
@click.option("--watch", is_flag=True, help="Write tables, figures and report.html anew whenever runs have news.")
@json_option
def report(directories: tuple[str, ...], out: str | None, watch: bool, as_json: bool) -> None:
    """Compare finished runs or sweeps: curves, savings, time and cost.

    Without --out, report.html of one run or sweep is written into it, and that of several into the present folder.
    """
    if watch:
        from asvp.report.watching import watch as watch_runs

        if out is None and len(directories) > 1:
            raise ConfigError("needs a folder for the page of several", key="--watch", mend="Add --out DIR")
        page = watch_runs(list(directories), out or directories[0], say=lambda text: OUT.print(text, soft_wrap=True))
        OUT.print(f"All runs have come to their end: {page}", soft_wrap=True)
        return

    comparison = _compared(directories, out)
    if as_json:
        OUT.print_values(comparison.to_json())
    else:
        comparison.print(OUT)


def _compared(directories: tuple[str, ...], out: str | None) -> Comparison:
    from asvp.record.run_directory import RunDirectory
    from asvp.report.comparison import compare, compare_in_place

    if out is not None:
        return compare(list(directories), out)
    places = {settle(directory, key="DIR") for directory in directories}
    alone = len(places) == 1
    place = places.pop() if alone else Path.cwd()
    # What is not asvp's is left as it is; but the present folder is its user's, and a page there is what was asked for.
    known = not alone or read_marker(place) is not None or RunDirectory(place).is_ours
    return compare_in_place(list(directories), place, known=known, say=lambda text: print(text, file=sys.stderr))
