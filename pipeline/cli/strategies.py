"""`asvp strategies`: what can choose rows."""

from __future__ import annotations

import click

from asvp.cli.options import OUT, json_option


@click.command()
@json_option
def strategies(as_json: bool) -> None:
    """List the strategies: what each needs, what it costs, where it comes from."""
    from asvp.report.closing import strategy_list, strategy_records
    from asvp.selection import package_of
    from asvp.selection import strategies as registered

    if as_json:
        OUT.print_values(strategy_records(registered(), package_of))
    else:
        OUT.print(strategy_list(registered(), package_of))
