"""`asvp extract`: the cache filled with features."""

from __future__ import annotations

import click

from asvp.cli.ending import told_how_to_go_on
from asvp.cli.options import OUT, address_option, config_options, json_option, log_format_option, reporter_of
from asvp.config import load_config


@click.command()
@click.argument("config")
@config_options
@click.option("--in-process", is_flag=True, help="Do everything in this process, without Ray (for debugging).")
@address_option
@log_format_option
@json_option
def extract(
    config: str, overrides: tuple[str, ...], in_process: bool, address: str | None, log_format: str, as_json: bool
) -> None:
    """Fill the cache with the features of CONFIG; interrupted and started again, it goes on at the missing shards."""
    settings = load_config(config, overrides)
    from asvp.driver.extract import extract as extract_features

    reporter = reporter_of(log_format)
    with told_how_to_go_on(lambda: "finished shards are in the cache, and the same command goes on"):
        made = extract_features(settings, in_process=in_process, address=address, reporter=reporter)
    if as_json:
        OUT.print_values([one.as_json() for one in made])
        return
    for one in made:
        rate = "from the cache" if one.reused else f"{one.rows / max(one.seconds, 1e-9):,.0f} rows/s"
        OUT.print(
            f"{one.title}: {one.rows:,} rows x {one.dim} features, {one.nbytes / 1e6:,.1f} MB, {rate}; key {one.key}"
        )
