"""`asvp status`: how a run or a sweep stands."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import click

from asvp.cli.options import OUT, json_option


@click.command()
@click.argument("directory", metavar="DIR")
@json_option
def status(directory: str, as_json: bool) -> None:
    """Show how a run or a sweep stands, at work or dead, from its files alone."""
    from asvp.folders import settle
    from asvp.remote.copies import at_hand, place_of
    from asvp.report.status_files import read_status
    from asvp.report.status_table import progress_title, status_lines, status_table

    with at_hand(directory, key="DIR", reading=True) as place:
        found = read_status(settle(place, key="DIR"))
        found = replace(found, directory=place_of(Path(found.directory)))
    if as_json:
        OUT.print_values(found.to_json())
        return
    OUT.print(status_table(found.trials, title=progress_title(found.trials)).rich())
    for line in status_lines(found):
        OUT.print(line)
