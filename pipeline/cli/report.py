"""`asvp report`: finished runs compared."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from asvp.cli.options import OUT, json_option
from asvp.errors import ConfigError
from asvp.folders import read_marker, settle
from asvp.remote.copies import at_hand, fetch_folder, named, put_rest

if TYPE_CHECKING:
    from asvp.report.comparison import Comparison


@click.command()
@click.argument("directories", nargs=-1, required=True, metavar="DIR...")
@click.option("--out", help="Where tables, figures and report.html go; default: report.html alone, in DIR, or here.")
@click.option("--watch", is_flag=True, help="Write tables, figures and report.html anew whenever runs have news.")
@json_option
def report(directories: tuple[str, ...], out: str | None, watch: bool, as_json: bool) -> None:
    """Compare finished runs or sweeps, in folders or at URIs: curves, savings, time and cost.

    Without --out, report.html of one run or sweep is written into it, and that of several into the present folder.
    """
    if watch and out is None and len(directories) > 1:
        raise ConfigError("needs a folder for the page of several", key="--watch", mend="Add --out DIR")
    with ExitStack() as stack:
        place = None if out is None else stack.enter_context(at_hand(out, say=_say))
        places = [stack.enter_context(at_hand(one, key="DIR", reading=True, say=_say)) for one in directories]
        if watch:
            page = _watched(list(map(str, places)), str(place or places[0]))
            OUT.print(f"All runs have come to their end: {page}", soft_wrap=True)
            return
        comparison = _compared(places, place)
    if as_json:
        OUT.print_values(comparison.to_json())
    else:
        comparison.print(OUT)


def _watched(places: Sequence[str], out: str) -> str:
    from asvp.report.watching import watch

    def pass_time(seconds: float) -> None:
        put_rest(Path(out))
        time.sleep(seconds)
        for place in places:
            fetch_folder(Path(place))

    page = watch(places, out, say=lambda text: OUT.print(text, soft_wrap=True), sleep=pass_time)
    put_rest(Path(out))
    return named(page)


def _compared(places: Sequence[Path | str], out: Path | str | None) -> Comparison:
    from asvp.record.run_directory import RunDirectory
    from asvp.report.comparison import compare, compare_in_place

    if out is not None:
        return compare(places, out)
    settled = {settle(place, key="DIR") for place in places}
    alone = len(settled) == 1
    page = settled.pop() if alone else Path.cwd()
    # What is not asvp's is left as it is; but the present folder is its user's, and a page there is what was asked for.
    known = not alone or read_marker(page) is not None or RunDirectory(page).is_ours
    return compare_in_place(places, page, known=known, say=_say)


def _say(text: str) -> None:
    print(text, file=sys.stderr)
