"""`asvp cache`: the cache looked after."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from asvp.cli.options import OUT, Command, json_option
from asvp.config import ExtractionConfig

if TYPE_CHECKING:
    from asvp.features.cache import Cache


@click.group()
def cache() -> None:
    """Look after the feature cache."""


def _cache_options(command: Command) -> Command:
    return click.option("--cache", "root", default=ExtractionConfig().cache, show_default=True, help="Folder or URI.")(
        command
    )


@cache.command("ls")
@_cache_options
@json_option
def cache_ls(root: str, as_json: bool) -> None:
    """List the entries, the most recently used first."""
    from asvp.report.closing import cache_table

    table = cache_table(_present(root).entries())
    if as_json:
        OUT.print_values(table.numbers)
    else:
        OUT.print(table.rich())


@cache.command("verify")
@_cache_options
@json_option
def cache_verify(root: str, as_json: bool) -> None:
    """Compare every file with its checksum; damaged ones are removed, and then it ends with status 1."""
    checked = list(_present(root).verify())
    damaged = {name: str(error) for name, error in checked if error is not None}
    if as_json:
        OUT.print_values({"checked": len(checked), "damaged": damaged})
    else:
        for name, reason in damaged.items():
            OUT.print(f"{name}: {reason}", soft_wrap=True, markup=False)
        OUT.print(f"{len(checked)} files checked, {len(damaged)} damaged")
    if damaged:
        sys.exit(1)


@cache.command("prune")
@click.argument("limit")
@_cache_options
def cache_prune(limit: str, root: str) -> None:
    """Evict what was used least recently until the cache is within LIMIT, such as 20GB."""
    from asvp.features.cache import KEPT_MINUTES, parse_size

    found, most = _present(root), parse_size(limit, key="LIMIT", least=0) or 0
    evicted = found.prune(most)
    OUT.print(f"{len(evicted)} entries evicted, {sum(info.nbytes for info in evicted) / 1e6:,.1f} MB freed")
    left = sum(info.nbytes for info in found.entries())
    if left > most:
        OUT.print(f"{left / 1e6:,.1f} MB are left that were used in the last {KEPT_MINUTES} minutes")


def _present(root: str) -> Cache:
    """A cache that is there: one to look after is not made."""
    from asvp.features.cache import Cache

    found = Cache(root)
    found.require_present()
    return found
