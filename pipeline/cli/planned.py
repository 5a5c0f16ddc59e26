"""`asvp sweep --dry-run`: a sweep's plan, printed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from asvp.cli.options import OUT
from asvp.config import Config

if TYPE_CHECKING:
    from asvp.tune_spaces.space import Space


def show_plan(
    name: str,
    space: Space,
    config: Config,
    out: Path,
    seeds: Sequence[int] | None,
    *,
    search: str | None,
    samples: int | None,
    resume: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Print what a sweep would do and need; nothing is started."""
    from asvp.driver.sizing import free_disk
    from asvp.remote.copies import named
    from asvp.tune_spaces.dry_run import dry_run
    from asvp.tune_spaces.naming import settings_line
    from asvp.tune_spaces.telling import rows

    said: list[str] = []
    plan = dry_run(
        space,
        config,
        out,
        seeds=seeds,
        search=search,
        samples=samples,
        resume=resume,
        address=address,
        say=said.append,
    )
    if as_json:
        OUT.print_values({"space": name, **plan.as_json(), "notes": said})
        return
    OUT.print(aligned((arm, settings_line(changes) or "changes nothing") for arm, changes in plan.arms.items()))
    for line in said:
        OUT.print(line)
    cache = config.extraction.cache
    told = rows(plan, cache=cache, disk=free_disk(cache), out=named(out), out_disk=free_disk(named(out)))
    OUT.print(aligned(told.items()))
    for warning in plan.warnings:
        OUT.print(f"Warning: {warning}")
    OUT.print("Nothing was started.")


def aligned(pairs: Iterable[tuple[str, str]]) -> Table:
    """Names in a column, and what is told of them beside it."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in range(2):
        table.add_column(overflow="fold")
    for name, told in pairs:
        table.add_row(Text(name), Text(told))
    return table
