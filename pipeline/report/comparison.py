"""The whole comparison of finished runs: what `asvp report` prints and writes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

from rich.console import Console

import asvp
from asvp.errors import AsvpError
from asvp.folders import require_room, settle, write_owned
from asvp.remote.copies import at_hand, place_of, put_rest
from asvp.report.baseline import RANDOM, baseline_of, random_arms
from asvp.report.comparison_tables import arm_table, curve_table, rankings_table, savings_table
from asvp.report.curves import by_arm
from asvp.report.figures import figure_images
from asvp.report.page.beside import Beside, read_beside
from asvp.report.page.page import NAME, page_bytes
from asvp.report.records import RunRecord, read_records
from asvp.report.redrawn import Redrawn, redrawn
from asvp.report.savings import default_targets, has_curve, savings
from asvp.report.tables import Table
from asvp.report.verdict import Verdict, verdict


@dataclass(frozen=True)
class Comparison:
    """Arms side by side.

    Attributes
    ----------
    records : tuple of RunRecord
        The runs.
    arms, rankings, savings, rounds : Table
        One row an arm; a total cost and arm; a target and arm; an arm, seed and round.
    verdict : Verdict
        The answer in a sentence or two.
    notes : tuple of str
        What a reader has to know before believing the tables.
    files : tuple of Path or str
        What was written; at a URI as text.
    """

    records: tuple[RunRecord, ...]
    arms: Table
    rankings: Table
    savings: Table
    rounds: Table
    verdict: Verdict
    notes: tuple[str, ...]
    files: tuple[Path | str, ...] = ()

    def print(self, console: Console) -> None:
        """Show tables, notes and the answer in a terminal."""
        console.print(self.arms.rich(), crop=False)
        for table in (self.rankings, self.savings):
            if table.rows:
                console.print()
                console.print(table.rich(), crop=False)
        console.print()
        for note in self.notes:
            console.print(f"Note: {note}", markup=False, highlight=False)
        console.print(self.verdict.text, style="bold", markup=False, highlight=False)
        for path in self.files:
            console.print(f"Wrote {path}", markup=False, highlight=False, soft_wrap=True)

    def markdown(self) -> str:
        """The tables, notes and answer for a document."""
        notes = "\n".join(f"- {note}" for note in self.notes)
        tables = (table.markdown() for table in (self.arms, self.rankings, self.savings) if table.rows)
        return "\n".join(part for part in (self.verdict.text + "\n", *tables, notes and notes + "\n") if part)

    def _repr_html_(self) -> str:
        said = [self.verdict.text, *(f"Note: {note}" for note in self.notes)]
        tables = [table.html() for table in (self.arms, self.rankings, self.savings) if table.rows]
        return "\n".join([*(f"<p>{escape(text)}</p>" for text in said), *tables])

    def to_json(self) -> dict[str, Any]:
        """Plain values: arms, rankings, savings, answer, notes, files."""
        return {
            "arms": list(self.arms.numbers),
            "rankings": list(self.rankings.numbers),
            "savings": list(self.savings.numbers),
            "verdict": {
                "best": self.verdict.best,
                "cheapest": self.verdict.cheapest,
                "target": self.verdict.target,
                "rivals": list(self.verdict.rivals),
                "provisional": self.verdict.provisional,
                "text": self.verdict.text,
            },
            "notes": list(self.notes),
            "files": [str(path) for path in self.files],
        }


def compare(
    folders: Sequence[str | Path], out: str | Path | None = None, *, targets: Sequence[float] | None = None
) -> Comparison:
    """Read runs and sweeps and put their arms side by side.

    Parameters
    ----------
    folders : sequence of str or Path
        Run and sweep directories, folders or URIs.
    out : str or Path, optional
        Folder or URI for arms.csv, rankings.csv, savings.csv, rounds.csv, report.md, report.html and the figures;
        made if missing. None writes nothing.
    targets : sequence of float, optional
        Accuracies to give labels and costs for. None: some that all arms reach.

    Raises
    ------
    RunDirectoryError, DataError
        If a folder cannot be compared, or `out` cannot be written.
    """
    given = [folders] if isinstance(folders, (str, Path)) else folders
    with ExitStack() as stack:
        place = None if out is None else stack.enter_context(at_hand(out))
        if place is not None:
            # Before anything is read: a name that can be no folder's.
            require_room(settle(place))
        places = [stack.enter_context(at_hand(one, key="DIR", reading=True)) for one in given]
        unread: dict[Path, str] = {}
        records = read_records(places, unread=unread)
        comparison = compare_records(records, place, targets=targets, beside=read_beside(places, unread))
        return replace(comparison, files=tuple(place_of(Path(file)) for file in comparison.files))


def compare_records(
    records: Sequence[RunRecord],
    out: str | Path | None = None,
    *,
    targets: Sequence[float] | None = None,
    beside: Beside | None = None,
    reload: int | None = None,
) -> Comparison:
    """As `compare`, for runs that are already in memory; every `reload` seconds report.html loads itself again."""
    place, beside = None if out is None else settle(out), beside or Beside()
    comparison, drawn = _compared(records, targets, beside)
    if place is None:
        return comparison
    page = page_bytes(records, comparison.verdict, comparison.notes, drawn, beside, reload=reload)
    return _write(comparison, place, page)


def compare_in_place(
    folders: Sequence[str | Path], place: Path, *, known: bool, say: Callable[[str], None]
) -> Comparison:
    """As `compare`, with report.html alone written.

    Parameters
    ----------
    folders : sequence of str or Path
    place : Path
        Where the page goes.
    known : bool
        Whether that folder is known to be asvp's, or the user's own to write into.
    say : callable
        Told if the page cannot be written there, which is no error: nobody asked for it by name.
    """
    unread: dict[Path, str] = {}
    records = read_records(folders, unread=unread)
    beside = read_beside(folders, unread)
    comparison, drawn = _compared(records, None, beside)
    page = page_bytes(records, comparison.verdict, comparison.notes, drawn, beside)
    try:
        write_owned(place, {NAME: page}, version=asvp.__version__, key="DIR", known=known)
        put_rest(place)
    except AsvpError as error:
        say(f"No page was written, name a folder with --out: {error}")
        return comparison
    return replace(comparison, files=(place_of(place / NAME),))


def _compared(
    records: Sequence[RunRecord], targets: Sequence[float] | None, beside: Beside
) -> tuple[Comparison, Redrawn | None]:
    finished = [run for run in records if run.finished]
    drawn = redrawn(finished)
    answer = verdict(records, drawn)
    wanted = default_targets(finished) if targets is None else targets
    comparison = Comparison(
        records=tuple(records),
        arms=arm_table(records),
        rankings=rankings_table([one for one in answer.rankings if one.behind]),
        savings=savings_table(savings(finished, wanted, baseline=baseline_of(records), redrawn=drawn)),
        rounds=curve_table(records),
        verdict=answer,
        notes=tuple(_notes(records, drawn, beside)),
    )
    return comparison, drawn


def page_of(records: Sequence[RunRecord], beside: Beside, *, reload: int | None = None) -> bytes:
    """report.html alone, of runs that are in memory."""
    drawn = redrawn([run for run in records if run.finished])
    return page_bytes(records, verdict(records, drawn), _notes(records, drawn, beside), drawn, beside, reload=reload)


def _write(comparison: Comparison, out: Path, page: bytes) -> Comparison:
    tables = ("arms", "rankings", "savings", "rounds")
    texts = {f"{name}.csv": getattr(comparison, name).csv() for name in tables} | {"report.md": comparison.markdown()}
    contents = {name: text.encode() for name, text in texts.items()} | figure_images(comparison.records)
    # Last, so that it is what the list of files ends with.
    contents[NAME] = page
    write_owned(out, contents, version=asvp.__version__, key="--out")
    return replace(comparison, files=tuple(out / name for name in contents))


def _notes(records: Sequence[RunRecord], drawn: Redrawn | None, beside: Beside) -> list[str]:
    notes = [
        f"{run.arm} with seed {run.seed} is not finished, at {run.labelled:,}"
        f"{f' of {run.planned:,}' if run.planned else ''} labels: it is in the curves, and not in the answer."
        for run in records
        if not run.finished and not run.stopped
    ]
    damaged = sorted(path.name for path, one in beside.states.items() if one.state == "damaged")
    if damaged:
        notes.append(f"{len(damaged)} runs are damaged and left out: {', '.join(damaged)}.")
    stopped = sum(run.stopped for run in records)
    if stopped:
        notes.append(f"{stopped} of {len(records)} runs were stopped early: they are in the curves until then.")
    arms = by_arm(records)
    if len(arms) > 1:
        notes += _told_baseline(random_arms((run.arm, run.config) for run in records))
    finished = [run for run in records if run.finished]
    flat = [arm for arm, runs in by_arm(finished).items() if not any(has_curve(run) for run in runs)]
    if flat:
        notes.append(
            f"{', '.join(flat)}: final models at one label count are no curve, so nothing is said of labels saved "
            "(training.evaluate_at=several)."
        )
    if drawn is None and len(by_arm(finished)) > 1:
        notes.append("Which test rows were right is not known of all runs alike: intervals are of seeds alone.")
    if len({tuple(sorted(run.seed for run in runs)) for runs in arms.values()}) > 1:
        notes.append("The arms were run with different seeds.")
    trusted = {
        str(run.config["encoder"].get("model"))
        for run in records
        if isinstance(run.config.get("encoder"), Mapping) and run.config["encoder"].get("trust_remote_code") is True
    }
    notes += [
        f"Python code that came with the checkpoint {model} was run (encoder.trust_remote_code)."
        for model in sorted(trusted)
    ]
    for section, what in (("data", "data"), ("encoder", "encoders"), ("cost", "prices")):
        if len({repr(run.config.get(section)) for run in records}) > 1:
            notes.append(f"The runs differ in their {what}: accuracies and costs may not be comparable.")
    if all(run.total("cost", "compute") == 0 for run in records):
        notes.append("Compute was free (cost.gpu_hour and cost.cpu_hour are 0): the cost is that of labels alone.")
    return notes


def _told_baseline(arms: Sequence[str]) -> list[str]:
    """What labels saved are told against, where the name alone does not say so."""
    if not arms:
        return ["There is no arm with random picks and without refreshes, so no labels saved are given."]
    if len(arms) > 1:
        return [f"Labels saved are told against {arms[0]}, one of {len(arms)} arms with random picks."]
    return [] if arms[0] == RANDOM else [f"Labels saved are told against {arms[0]}, the arm with random picks."]
