"""`asvp check`: a configuration validated, and its plan."""

from __future__ import annotations

import click

from asvp.cli.options import OUT, config_options, json_option
from asvp.config import load_config


@click.command()
@click.argument("config", required=False)
@config_options
@click.option("--all-rows", is_flag=True, help="Read all rows of a large pool, not a sample of them.")
@json_option
def check(config: str | None, overrides: tuple[str, ...], all_rows: bool, as_json: bool) -> None:
    """Validate everything about a configuration and print its plan; nothing is run."""
    from asvp.driver.check import check_config

    plan = check_config(load_config(config, overrides), all_rows=all_rows)
    if as_json:
        OUT.print_values(plan.as_json())
    else:
        OUT.print(plan.rich())
