"""`asvp run`: one arm, one seed."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asvp.cli.ending import command_line, told_how_to_go_on
from asvp.cli.options import OUT, address_option, config_options, json_option, log_format_option, reporter_of
from asvp.config import Config, build_config, load_config, presets
from asvp.config.text import existing_file
from asvp.errors import ConfigError, RunDirectoryError

if TYPE_CHECKING:
    from asvp.progress import Reporter
    from asvp.record.run_directory import RunDirectory


@click.command()
@click.argument("config", required=False)
@config_options
@click.option("--out", help="Run directory; default: a new one under runs/.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out (or in CONFIG, if that is its directory).")
@click.option("--until-round", type=click.IntRange(min=0), help="Stop after this round.")
@click.option("--in-process", is_flag=True, help="Do everything in this process, without Ray (for debugging).")
@click.option("--no-cache", is_flag=True, help="Compute everything; neither read nor write the cache.")
@address_option
@log_format_option
@json_option
def run(
    config: str | None,
    overrides: tuple[str, ...],
    out: str | None,
    resume: bool,
    until_round: int | None,
    in_process: bool,
    no_cache: bool,
    address: str | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Run one arm with one seed. CONFIG is a YAML file or a preset (demo, debian-sections)."""
    from asvp.driver.loop import run as run_driver
    from asvp.record.run_directory import RunDirectory
    from asvp.report.closing import run_table

    overrides = (*overrides, "extraction.cache=null") if no_cache else overrides
    settings, directory = _run_settings(config, overrides, out, resume=resume)

    def how_to_go_on() -> str:
        if not RunDirectory(directory.path).holds_run:
            return "no run was begun yet; start again"
        options = ["--in-process"] if in_process else ["--address", address] if address else []
        again = command_line("run", "--resume", str(directory.path), *options)
        return f"finished rounds are kept, and this goes on: {again}"

    reporter = reporter_of(log_format, run=str(directory.path))
    with told_how_to_go_on(how_to_go_on):
        result = run_driver(
            settings,
            out=directory.path,
            resume=resume,
            until_round=until_round,
            in_process=in_process,
            address=address,
            reporter=reporter,
        )
        if result.summary:
            _draw(directory, reporter)
    if as_json:
        OUT.print_values({"directory": str(result.directory), "rounds": result.rounds, "summary": result.summary})
        return
    OUT.print(run_table(result.rounds).rich())
    OUT.print(f"Run directory: {result.directory}", soft_wrap=True)


def _draw(directory: RunDirectory, reporter: Reporter) -> None:
    """Draw the figures; those of others in their place are left, which costs the run nothing."""
    from asvp.report.figures import draw_figures
    from asvp.report.records import read_run

    try:
        draw_figures([read_run(directory.path)], directory.path, known=True)
    except RunDirectoryError as error:
        reporter.say(f"No figures were drawn: {error}")


def _run_settings(
    config: str | None, overrides: tuple[str, ...], out: str | None, *, resume: bool
) -> tuple[Config, RunDirectory]:
    """The configuration and the run directory; a resumed run has its own configuration."""
    from asvp.record.run_directory import RunDirectory

    if resume:
        if out is None and config is not None and not _is_config(config):
            out, config = config, None
        if out is None:
            raise ConfigError("needs the run's directory", key="--resume", mend="Add --out DIR")
        directory = RunDirectory(out)
        directory.check(resume=True)
        begun = directory.read_config()
        return (
            build_config(begun.model_dump(), overrides) if config is None else load_config(config, overrides)
        ), directory
    settings = load_config(config, overrides)
    if out is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        strategy = settings.selection.strategy.replace(":", ".")
        out = str(Path("runs") / f"{stamp}-{settings.mode}-{strategy}-seed{settings.seed}")
    return settings, RunDirectory(out)


def _is_config(name: str) -> bool:
    """Whether a resume names a configuration; anything else is meant as the directory of the run."""
    return not os.path.isdir(name) and (name in presets() or existing_file(name) is not None)
