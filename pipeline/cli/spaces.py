"""`asvp spaces`: what can be swept."""

from __future__ import annotations

import click
from rich.text import Text

from asvp.cli.options import OUT, json_option


@click.command()
@json_option
def spaces(as_json: bool) -> None:
    """List the search spaces: what question each answers."""
    from asvp.tune_spaces.space import spaces as known

    if as_json:
        OUT.print_values(known())
        return
    for name, question in known().items():
        OUT.print(Text(f"{name:<20} {question}"))
