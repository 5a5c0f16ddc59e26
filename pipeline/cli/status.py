"""`asvp status`: how a run or a sweep stands, and a timeline of its jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import click

from asvp.cli.options import OUT, json_option


@click.command()
@click.argument("directory", metavar="DIR")
@click.option(
    "--timeline",
    metavar="[FILE]",
    is_flag=False,
    flag_value="",
    help="Also write when each job was done, and by which worker, as a Chrome trace for ui.perfetto.dev or "
    "chrome://tracing: to FILE, to DIR/timeline.json without it (./timeline.json for a URI), or alone to standard "
    "output (-).",
)
@json_option
def status(directory: str, timeline: str | None, as_json: bool) -> None:
    """Show how a run or a sweep stands, at work or dead, from its files alone."""
    from asvp.folders import settle
    from asvp.remote.copies import at_hand, place_of
    from asvp.remote.objects import is_uri
    from asvp.report.status_files import read_status
    from asvp.report.status_table import progress_title, status_lines, status_table
    from asvp.report.timeline import TIMELINE

    with at_hand(directory, key="DIR", reading=True) as place:
        folder = settle(place, key="DIR")
        if timeline == "-":
            _print_timeline(folder, as_json)
            return
        found = read_status(folder)
        lines = []
        if timeline is not None:
            beside = Path.cwd() if is_uri(directory) else folder
            lines = _written(folder, Path(timeline).expanduser() if timeline else beside / TIMELINE)
        found = replace(found, directory=place_of(Path(found.directory)))
    if as_json:
        OUT.print_values(found.to_json())
        return
    OUT.print(status_table(found.trials, title=progress_title(found.trials)).rich())
    for line in [*status_lines(found), *lines]:
        OUT.print(line)


def _print_timeline(folder: Path, as_json: bool) -> None:
    from asvp.report.timeline import read_timeline

    if as_json:
        raise click.UsageError("--json and --timeline - cannot both have standard output: name a file.")
    made = read_timeline(folder)
    click.echo(json.dumps(made.trace))
    for note in made.notes:
        click.echo(note, err=True)


def _written(folder: Path, path: Path) -> list[str]:
    """Write the timeline; what is to be said of it."""
    from asvp.files import write_text
    from asvp.report.timeline import read_timeline

    made = read_timeline(folder)
    write_text(path, json.dumps(made.trace) + "\n")
    return [f"Timeline of {made.jobs:,} jobs: {path}; open it at ui.perfetto.dev or chrome://tracing.", *made.notes]
