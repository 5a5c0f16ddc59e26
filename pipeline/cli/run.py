"""`asvp run`: one arm, one seed."""

from __future__ import annotations

import json
import time
from pathlib import Path

import click

from asvp.cli.options import OUT, address_option, config_options, json_option
from asvp.config import Config, build_config, load_config
from asvp.errors import ConfigError


@click.command()
@click.argument("config", required=False)
@config_options
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; default: a new one under runs/.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out (or in CONFIG, if that is its directory).")
@click.option("--until-round", type=click.IntRange(min=0), help="Stop after this round.")
@click.option("--in-process", is_flag=True, help="Do everything in this process, without Ray (for debugging).")
@click.option("--no-cache", is_flag=True, help="Compute everything; neither read nor write the cache.")
@address_option
@json_option
def run(
    config: str | None,
    overrides: tuple[str, ...],
    out: Path | None,
    resume: bool,
    until_round: int | None,
    in_process: bool,
    no_cache: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Run one arm with one seed. CONFIG is a YAML file or a preset (demo, debian-sections)."""
    from asvp.driver.loop import run as run_driver
    from asvp.progress import reporter_for
    from asvp.report.closing import run_table
    from asvp.report.figures import draw_figures
    from asvp.report.records import read_run

    overrides = (*overrides, "extraction.cache=null") if no_cache else overrides
    settings, out = _run_settings(config, overrides, out, resume=resume)
    result = run_driver(
        settings,
        out=out,
        resume=resume,
        until_round=until_round,
        in_process=in_process,
        address=address,
        reporter=reporter_for(),
    )
    if result.summary:
        draw_figures([read_run(out)], out)
    if as_json:
        print(json.dumps({"directory": str(result.directory), "rounds": result.rounds, "summary": result.summary}))
        return
    OUT.print(run_table(result.rounds).rich())
    OUT.print(f"Run directory: {result.directory}")


def _run_settings(
    config: str | None, overrides: tuple[str, ...], out: Path | None, *, resume: bool
) -> tuple[Config, Path]:
    """The configuration and the run directory; a resumed run has its own configuration."""
    from asvp.record.run_directory import RunDirectory

    if resume:
        if out is None and config is not None and Path(config).is_dir():
            out, config = Path(config), None
        if out is None:
            raise ConfigError("needs the run's directory", key="--resume", mend="Add --out DIR")
        if config is None:
            directory = RunDirectory(out)
            directory.check(resume=True)
            return build_config(directory.read_config().model_dump(), overrides), out
    settings = load_config(config, overrides)
    if out is None:
        stamp = time.strftime("%Y%m%d-%H%M%S")
        strategy = settings.selection.strategy.replace(":", ".")
        out = Path("runs") / f"{stamp}-{settings.mode}-{strategy}-seed{settings.seed}"
    return settings, out
