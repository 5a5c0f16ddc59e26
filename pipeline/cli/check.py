"""`asvp check`: a configuration validated, and its plan."""

from __future__ import annotations

import sys

import click

from asvp.cli.options import OUT, config_options, json_option
from asvp.config import load_config
from asvp.errors import ConfigError


@click.command()
@click.argument("config", required=False)
@config_options
@click.option("--address", metavar="HOST:PORT", help="Ask this Ray cluster as well whether it can run it.")
@click.option("--out", help="With --address: where the run or sweep would write; default: the present folder.")
@click.option("--all-rows", is_flag=True, help="Read all rows of a large pool, not a sample of them.")
@json_option
def check(
    config: str | None,
    overrides: tuple[str, ...],
    address: str | None,
    out: str | None,
    all_rows: bool,
    as_json: bool,
) -> None:
    """Validate everything about a configuration and print its plan; nothing is run.

    With --address every node of a cluster is asked for its versions, and whether it reads the data and reads and writes
    --out and the cache; what it cannot run ends with status 2.
    """
    if out is not None and address is None:
        raise ConfigError("is looked at on a cluster", key="--out", value=out, mend="Add --address HOST:PORT, or auto")
    settings = load_config(config, overrides)
    from asvp.driver.preparation import look_ahead

    look_ahead(settings)
    # PyTorch comes with it: a slip of the pen is told of before.
    from asvp.driver.check import check_config

    plan = check_config(settings, address=address, out=out, all_rows=all_rows)
    if as_json:
        OUT.print_values(plan.as_json())
    else:
        OUT.print(plan.rich())
    if plan.errors:
        sys.exit(2)
