"""The `asvp` command."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

# Before anything imports Ray or transformers: no usage reports, no new-style tables, no advice in the output.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import click
from rich.console import Console

from asvp import __version__
from asvp.config import Config, ExtractionConfig, build_config, load_config
from asvp.errors import AsvpError, ConfigError

Command = TypeVar("Command", bound=Callable[..., Any])

# A pipe has no width of its own; tables need more than the 80 columns that rich would assume.
_out = Console(highlight=False, width=None if sys.stdout.isatty() else 120)


def main() -> None:
    """Entry point: 0 done, 2 bad input, 1 anything else."""
    try:
        cli(standalone_mode=False)
    except AsvpError as error:
        _fail(str(error), error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        _fail("interrupted; finished rounds and shards are kept, and --resume goes on", 1)


def _fail(message: str, code: int) -> None:
    print(f"asvp: {message}", file=sys.stderr)
    sys.exit(code)


def _config_options(command: Command) -> Command:
    return click.option("-s", "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Change an option.")(
        command
    )


def _json_option(command: Command) -> Command:
    return click.option("--json", "as_json", is_flag=True, help="Print results as JSON.")(command)


def _address_option(command: Command) -> Command:
    return click.option(
        "--address", metavar="HOST:PORT", help="Ray cluster; by default this machine's, started if there is none."
    )(command)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="asvp")
def cli() -> None:
    """Active learning by proxy with pre-trained encoders, on Ray."""


@cli.command()
@click.argument("config", required=False)
@_config_options
@click.option("--out", type=click.Path(path_type=Path), help="Run directory; default: a new one under runs/.")
@click.option("--resume", is_flag=True, help="Go on with the run in --out (or in CONFIG, if that is its directory).")
@click.option("--until-round", type=click.IntRange(min=0), help="Stop after this round.")
@click.option("--in-process", is_flag=True, help="Do everything in this process, without Ray (for debugging).")
@click.option("--no-cache", is_flag=True, help="Compute everything; neither read nor write the cache.")
@_address_option
@_json_option
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
    _out.print(run_table(result.rounds).rich())
    _out.print(f"Run directory: {result.directory}")


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
        out = Path("runs") / f"{stamp}-{settings.mode}-{settings.selection.strategy}-seed{settings.seed}"
    return settings, out


@cli.command()
@click.argument("space")
@click.argument("config", required=False)
@_config_options
@click.option("--seeds", help="Seeds instead of the space's own, such as 0,1,2.")
@click.option("--out", type=click.Path(path_type=Path), help="Sweep directory; default: a new one under sweeps/.")
@click.option("--resume", is_flag=True, help="Go on with the sweep in --out.")
@_address_option
@_json_option
def sweep(
    space: str,
    config: str | None,
    overrides: tuple[str, ...],
    seeds: str | None,
    out: Path | None,
    resume: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Compare arms. SPACE is a module of tune_spaces or a YAML file; CONFIG what all arms share."""
    from asvp.progress import reporter_for
    from asvp.report.comparison import compare
    from asvp.tune_spaces.space import load_space, trials
    from asvp.tune_spaces.sweep import run_sweep

    base = load_config(config, overrides)
    chosen = list(trials(load_space(space, base), base.model_dump(), _parse_seeds(seeds)))
    if out is None:
        if resume:
            raise ConfigError("needs the sweep's directory", key="--resume", mend="Add --out DIR")
        out = Path("sweeps") / f"{time.strftime('%Y%m%d-%H%M%S')}-{Path(space).stem}"
    result = run_sweep(chosen, out, resume=resume, address=address, reporter=reporter_for())
    for trial, reason in result.failed.items():
        print(f"asvp: {trial} failed: {reason}", file=sys.stderr)
    comparison = compare([result.directory], result.directory)
    if as_json:
        print(json.dumps({"directory": str(result.directory), "failed": result.failed, **comparison.to_json()}))
    else:
        comparison.print(_out)
        _out.print(f"Sweep directory: {result.directory}")
    if result.failed:
        sys.exit(1)


def _parse_seeds(text: str | None) -> list[int] | None:
    if text is None:
        return None
    try:
        seeds = [int(part) for part in text.split(",")]
    except ValueError:
        seeds = []
    if not seeds or min(seeds) < 0 or len(set(seeds)) < len(seeds):
        raise ConfigError("is not a list of different whole numbers", key="--seeds", value=text, mend="Write 0,1,2")
    return seeds


@cli.command()
@click.argument("config")
@_config_options
@click.option("--in-process", is_flag=True, help="Do everything in this process, without Ray (for debugging).")
@_address_option
@_json_option
def extract(config: str, overrides: tuple[str, ...], in_process: bool, address: str | None, as_json: bool) -> None:
    """Fill the cache with the features of CONFIG; interrupted and started again, it goes on at the missing shards."""
    from asvp.driver.extract import extract as extract_features
    from asvp.progress import reporter_for

    settings = load_config(config, overrides)
    made = extract_features(settings, in_process=in_process, address=address, reporter=reporter_for())
    if as_json:
        print(json.dumps([one.as_json() for one in made]))
        return
    for one in made:
        rate = "from the cache" if one.reused else f"{one.rows / max(one.seconds, 1e-9):,.0f} rows/s"
        _out.print(
            f"{one.title}: {one.rows:,} rows x {one.dim} features, {one.nbytes / 1e6:,.1f} MB, {rate}; key {one.key}"
        )


@cli.group()
def cache() -> None:
    """Look after the feature cache."""


def _cache_options(command: Command) -> Command:
    return click.option("--cache", "root", default=ExtractionConfig().cache, show_default=True, help="Folder or URI.")(
        command
    )


@cache.command("ls")
@_cache_options
@_json_option
def cache_ls(root: str, as_json: bool) -> None:
    """List the entries, the most recently used first."""
    from asvp.features.cache import Cache
    from asvp.report.closing import cache_table

    table = cache_table(Cache(root).entries())
    if as_json:
        print(json.dumps(table.numbers))
    else:
        _out.print(table.rich())


@cache.command("verify")
@_cache_options
@_json_option
def cache_verify(root: str, as_json: bool) -> None:
    """Compare every file with its checksum; damaged ones are removed, and then it ends with status 1."""
    from asvp.features.cache import Cache

    checked = list(Cache(root).verify())
    damaged = {name: str(error) for name, error in checked if error is not None}
    if as_json:
        print(json.dumps({"checked": len(checked), "damaged": damaged}))
    else:
        for name, reason in damaged.items():
            _out.print(f"{name}: {reason}", soft_wrap=True)
        _out.print(f"{len(checked)} files checked, {len(damaged)} damaged")
    if damaged:
        sys.exit(1)


@cache.command("prune")
@click.argument("limit")
@_cache_options
def cache_prune(limit: str, root: str) -> None:
    """Evict what was used least recently until the cache is within LIMIT, such as 20GB."""
    from asvp.features.cache import Cache

    evicted = Cache(root, limit).prune()
    _out.print(f"{len(evicted)} entries evicted, {sum(info.nbytes for info in evicted) / 1e6:,.1f} MB freed")


@cli.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Where tables and figures go; default: nowhere.")
@_json_option
def report(directories: tuple[Path, ...], out: Path | None, as_json: bool) -> None:
    """Compare finished runs or sweeps: curves, savings, time and cost."""
    from asvp.report.comparison import compare

    comparison = compare(list(directories), out)
    if as_json:
        print(json.dumps(comparison.to_json()))
    else:
        comparison.print(_out)


@cli.command()
@_json_option
def strategies(as_json: bool) -> None:
    """List the strategies: what each needs, what it costs, where it comes from."""
    from asvp.report.closing import strategy_list, strategy_records
    from asvp.selection import strategies as registered

    if as_json:
        print(json.dumps(strategy_records(registered())))
    else:
        _out.print(strategy_list(registered()))


@cli.command()
@click.argument("config", required=False)
@_config_options
@_json_option
def check(config: str | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Validate everything about a configuration and print its plan; nothing is run."""
    from asvp.driver.check import check_config

    plan = check_config(load_config(config, overrides))
    if as_json:
        print(json.dumps(plan.as_json()))
    else:
        _out.print(plan.rich())
