"""`asvp sweep`: arms and seeds compared."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from asvp.cli.ending import command_line, told_how_to_go_on
from asvp.cli.options import OUT, address_option, config_options, json_option, log_format_option, reporter_of
from asvp.cli.planned import show_plan
from asvp.config import load_config
from asvp.errors import ConfigError, one_line
from asvp.folders import read_marker, settle
from asvp.redaction import redact

if TYPE_CHECKING:
    from asvp.tune_spaces.result import SweepResult


@click.command()
@click.argument("space")
@click.argument("config", required=False)
@config_options
@click.option("--seeds", help="Seeds instead of the space's own, such as 0,1,2.")
@click.option("--out", help="Sweep directory, or a URI such as s3://bucket/sweep; default: a new one under sweeps/.")
@click.option("--resume", is_flag=True, help="Go on with the sweep in --out.")
@click.option("--retry-failed", is_flag=True, help="With --resume: try trials again that failed.")
@click.option("--max-concurrent", type=click.IntRange(min=1), help="Trials at work at a time; default: by workers.")
@click.option(
    "--scheduler",
    metavar="none|asha|median",
    help="Stop trials early whose proxies do worse than others of their seed; default: none, or as begun.",
)
@click.option(
    "--log", multiple=True, metavar="NAME", help="tensorboard (default), mlflow, wandb or none; may be given again."
)
@click.option(
    "--search", help="grid: all arms (default); random: drawn; optuna: suggested by what earlier ones reached."
)
@click.option("--samples", type=int, help="How many arms; of a grid: values of each axis that is drawn at random.")
@click.option("--no-cache", is_flag=True, help="Compute everything; neither read nor write the cache.")
@click.option("--dry-run", is_flag=True, help="Check everything, show what would be done and needed, start nothing.")
@address_option
@log_format_option
@json_option
def sweep(
    space: str,
    config: str | None,
    overrides: tuple[str, ...],
    seeds: str | None,
    out: str | None,
    resume: bool,
    retry_failed: bool,
    max_concurrent: int | None,
    scheduler: str | None,
    log: tuple[str, ...],
    search: str | None,
    samples: int | None,
    no_cache: bool,
    dry_run: bool,
    address: str | None,
    log_format: str,
    as_json: bool,
) -> None:
    """Compare arms. SPACE is a name of `asvp spaces` or a Python or YAML file; CONFIG is what all arms share."""
    from asvp.remote.copies import at_hand, called, named
    from asvp.tune_spaces.catalogue import default_directory, load_space
    from asvp.tune_spaces.checks import check_directory
    from asvp.tune_spaces.loggers.names import DEFAULT, require_loggers
    from asvp.tune_spaces.search import settled
    from asvp.tune_spaces.stopping import Name, Scheduler

    overrides = (*overrides, "extraction.cache=null") if no_cache else overrides
    if resume and out is None:
        raise ConfigError("needs the sweep's directory", key="--resume", mend="Add --out DIR")
    if retry_failed and not resume:
        raise ConfigError("goes on with a sweep that is there", key="--retry-failed", mend="Add --resume and --out DIR")
    rule = None if scheduler is None else Scheduler(cast(Name, scheduler))
    require_loggers(log or DEFAULT, key="--log")
    chosen = _parse_seeds(seeds)
    if not resume:
        settled(search, samples)
    settings = load_config(config, overrides)
    arms = load_space(space, settings)
    place = str(default_directory(space)) if out is None else out
    reporter = reporter_of(log_format, sweep=called(place))
    with at_hand(place, reading=dry_run, say=reporter.say) as folder:
        directory = settle(folder)
        check_directory(directory, resume=resume)
        if dry_run:
            show_plan(
                space,
                arms,
                settings,
                directory,
                chosen,
                search=search,
                samples=samples,
                resume=resume,
                address=address,
                as_json=as_json,
            )
            if rule is not None and rule.name != "none" and not as_json:
                OUT.print(f"All of this is at most: {rule.name} stops trials early.")
            return

        again = ["sweep", space, *([config] if config else []), *(part for one in overrides for part in ("-s", one))]
        again += [part for one in log for part in ("--log", one)]
        again += [*(["--log-format", log_format] if log_format != "text" else [])]
        again += [*(["--max-concurrent", str(max_concurrent)] if max_concurrent else [])]
        again += [*(["--scheduler", scheduler] if scheduler else [])]
        again += [*(["--search", search] if search else []), *(["--samples", str(samples)] if samples else [])]
        again += [*(["--seeds", seeds] if seeds else []), *(["--address", address] if address else [])]
        again += ["--out", named(directory), "--resume"]
        reporter.say(f"Comparing the arms of {space}")
        # Ray and PyTorch come with it: what was typed is right by now.
        from asvp.tune_spaces.sweep import sweep as run_space

        with told_how_to_go_on(lambda: _how_to_go_on(directory, again)):
            result = run_space(
                arms,
                settings,
                out=directory,
                seeds=chosen,
                resume=resume,
                retry_failed=retry_failed,
                max_concurrent=max_concurrent,
                scheduler=rule,
                search=search,
                samples=samples,
                address=address,
                reporter=reporter,
                log=log or DEFAULT,
            )
    _show(result, as_json)
    if result.failed:
        print_failures(result.failed)
        sys.exit(1)


def _how_to_go_on(directory: Path, again: Sequence[str]) -> str:
    if read_marker(directory) is None:
        return "no trial was begun yet; start again"
    return f"finished rounds are kept, and this goes on: {command_line(*again)}"


def _show(result: SweepResult, as_json: bool) -> None:
    compared = result.comparison
    if as_json:
        told = {} if compared is None else compared.to_json()
        OUT.print_values({"directory": str(result.directory), "failed": result.failed, **told})
        return
    if compared is not None:
        compared.print(OUT)
    OUT.print(f"Sweep directory: {result.directory}", soft_wrap=True)
    if compared is not None and compared.files:
        OUT.print(f"Open in a browser: {compared.files[-1]}", soft_wrap=True)


def print_failures(failed: Mapping[str, str]) -> None:
    """Which trials failed, and why, as a table on standard error; equal reasons are told once."""
    by_reason: dict[str, list[str]] = {}
    for trial, reason in failed.items():
        by_reason.setdefault(one_line(redact(reason)), []).append(trial)
    print(f"\nasvp: {len(failed)} trials failed:", file=sys.stderr)
    width = max(map(len, failed))
    for reason, trials in by_reason.items():
        for trial, told in zip_longest(trials, [reason], fillvalue='"'):
            print(f"  {trial:<{width}}  {told}", file=sys.stderr)


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
