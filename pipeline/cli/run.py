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


@click.command(help=f"Run one arm with one seed. CONFIG is a YAML file or a preset ({', '.join(presets())}).")
@click.argument("config", required=False)
@config_options
@click.option("--out", help="Run directory, or a URI such as s3://bucket/run; default: a new one under runs/.")
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
    """Run one arm with one seed; the help names the presets that there are."""
    from asvp.driver.loop import run as run_driver
    from asvp.record.run_directory import RunDirectory
    from asvp.remote.copies import at_hand, called
    from asvp.report.closing import run_table

    overrides = (*overrides, "extraction.cache=null") if no_cache else overrides
    if resume:
        config, out = _names(config, out)
    settings = None if resume else load_config(config, overrides)
    place = _default_directory(settings) if out is None and settings is not None else str(out)
    reporter = reporter_of(log_format, run=called(place))
    with at_hand(place, say=reporter.say) as folder:
        directory = RunDirectory(folder)
        if settings is None:
            settings = _settings_of(directory, config, overrides)
        where = ["--in-process"] if in_process else ["--address", address] if address else []
        with told_how_to_go_on(lambda: _how_to_go_on(directory, where)):
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


def _how_to_go_on(directory: RunDirectory, where: list[str]) -> str:
    from asvp.record.run_directory import RunDirectory
    from asvp.remote.copies import named

    if not RunDirectory(directory.path).holds_run:
        return "no run was begun yet; start again"
    again = command_line("run", "--resume", named(directory.path), *where)
    return f"finished rounds are kept, and this goes on: {again}"


def _draw(directory: RunDirectory, reporter: Reporter) -> None:
    """Draw the figures; those of others in their place are left, which costs the run nothing."""
    from asvp.report.figures import draw_figures
    from asvp.report.records import read_run

    try:
        draw_figures([read_run(directory.path)], directory.path, known=True)
    except RunDirectoryError as error:
        reporter.say(f"No figures were drawn: {error}")


def _names(config: str | None, out: str | None) -> tuple[str | None, str]:
    """The configuration and the directory that a resume names."""
    if out is None and config is not None and not _is_config(config):
        out, config = config, None
    if out is None:
        raise ConfigError("needs the run's directory", key="--resume", mend="Add --out DIR")
    return config, out


def _settings_of(directory: RunDirectory, config: str | None, overrides: tuple[str, ...]) -> Config:
    """What a run goes on with: its own configuration, unless another is named."""
    directory.check(resume=True)
    begun = directory.read_config()
    return build_config(begun.model_dump(), overrides) if config is None else load_config(config, overrides)


def _default_directory(settings: Config) -> str:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    strategy = settings.selection.strategy.replace(":", ".")
    return str(Path("runs") / f"{stamp}-{settings.mode}-{strategy}-seed{settings.seed}")


def _is_config(name: str) -> bool:
    """Whether a resume names a configuration; anything else is meant as the directory of the run."""
    return not os.path.isdir(name) and (name in presets() or existing_file(name) is not None)
