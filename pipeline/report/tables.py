"""Tables that read the same in a terminal, in Markdown, as plain text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from asvp.errors import one_line
from asvp.report.curves import by_arm
from asvp.report.records import Measure, RunRecord
from asvp.report.savings import Saving

ARM_NOTE = (
    "Sampling is all the time that went into choosing rows, refreshes included; "
    "fine-tuning is refreshes and the final model. Times and cost are means over seeds."
)


@dataclass(frozen=True)
class Table:
    """A table of ready-made text, and the numbers behind it.

    Attributes
    ----------
    title : str
        What it shows.
    columns : tuple of str
        Headings; the first is the name of the row.
    rows : tuple of tuple of str
        Cells as people read them.
    numbers : tuple of dict
        The rows as plain values, for CSV and JSON.
    note : str
        What a reader has to know.
    names : int
        How many of the first columns are words, set to the left.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[dict[str, Any], ...]
    note: str = ""
    names: int = 1

    def rich(self) -> RichTable:
        """For a terminal."""
        # As `Text`, whatever the console thinks of square brackets: names come from outside and are never markup.
        note = Text(one_line(self.note)) if self.note else None
        table = RichTable(title=Text(self.title), title_justify="left", caption=note, caption_justify="left")
        for i, column in enumerate(self.columns):
            table.add_column(Text(column), justify="left" if i < self.names else "right", no_wrap=i < self.names)
        for row in self.rows:
            table.add_row(*(Text(one_line(cell)) for cell in row))
        return table

    def markdown(self) -> str:
        """For a document."""
        lines = [self.columns, tuple("---" if i < self.names else "---:" for i in range(len(self.columns))), *self.rows]
        body = "\n".join(f"| {' | '.join(one_line(cell).replace('|', '/') for cell in line)} |" for line in lines)
        return "\n\n".join(part for part in (f"**{self.title}**", body, self.note) if part) + "\n"

    def text(self) -> str:
        """For a log: columns padded with blanks."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        padded = (
            "  ".join(
                cell.ljust(width) if i < self.names else cell.rjust(width) for i, (cell, width) in enumerate(cells)
            )
            for cells in (list(zip(line, widths, strict=True)) for line in lines)
        )
        return "\n".join([self.title, *(line.rstrip() for line in padded), *([self.note] if self.note else [])]) + "\n"

    def csv(self) -> str:
        """The plain values, one line a row."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.numbers[0]) if self.numbers else list(self.columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.numbers)
        return out.getvalue()


def arm_table(records: Iterable[RunRecord]) -> Table:
    """One row an arm: final accuracy, labels, times and cost.

    The final accuracy is that of the last round with a final model, of runs that are finished; where no run of the
    arm is finished, of those that are not, which the row says.
    """
    rows, numbers = [], []
    for arm, runs in by_arm(records).items():
        finished = [run for run in runs if run.finished]
        counted = finished or runs
        finals = [points[-1][1] for run in counted if (points := run.accuracies("final"))]
        proxies = [points[-1][1] for run in counted if (points := run.accuracies("proxy"))]
        values: dict[str, Any] = {
            "arm": arm,
            "runs": len(runs),
            "finished": len(finished),
            "labels": _mean([run.labelled for run in counted]),
            "final_accuracy": _mean(finals),
            "final_accuracy_min": min(finals, default=None),
            "final_accuracy_max": max(finals, default=None),
            "final_macro_f1": _mean([f1 for run in counted if (f1 := _last(run, "final_macro_f1")) is not None]),
            "proxy_accuracy": _mean(proxies),
            "refreshes": _mean([sum(bool(one.get("refreshed")) for one in run.rounds) for run in counted]),
            "sampling_seconds": _mean([run.total("sampling_seconds") for run in counted]),
            "finetune_seconds": _mean([run.total("seconds", "finetune") for run in counted]),
            "saved_seconds": _mean([run.total("saved_seconds") for run in counted]),
            "cost": _mean([run.total("cost", "total") for run in counted]),
        }
        numbers.append(values)
        rows.append(
            (
                arm,
                str(len(runs)) if len(finished) == len(runs) else f"{len(finished)} of {len(runs)} finished",
                count(values["labels"]),
                spread(finals),
                f"{values['refreshes']:.3g}",
                duration(values["sampling_seconds"]),
                duration(values["finetune_seconds"]),
                dollars(values["cost"]),
            )
        )
    return Table(
        title="Arms",
        columns=("arm", "seeds", "labels", "final accuracy", "refreshes", "sampling", "fine-tuning", "cost"),
        rows=tuple(rows),
        numbers=tuple(numbers),
        note=ARM_NOTE,
    )


def savings_table(found: Sequence[Saving], measure: Measure) -> Table:
    """One row a target and arm: labels and dollars needed, and labels saved against random picks."""
    rows, numbers = [], []
    for saving in found:
        labels, cost, ratios = (list(group.values()) for group in (saving.labels, saving.dollars, saving.ratio))
        reached = f"{len(labels)} of {saving.seeds}"
        rows.append(
            (
                f"{saving.target:.3f}",
                saving.arm,
                reached,
                count(_mean(labels)),
                dollars(_mean(cost)),
                spread(ratios, percent=True),
            )
        )
        numbers.append(
            {
                "target_accuracy": saving.target,
                "arm": saving.arm,
                "seeds": saving.seeds,
                "seeds_reaching": len(labels),
                "labels": _mean(labels),
                "cost": _mean(cost),
                "saved": _mean(ratios),
                "saved_min": min(ratios, default=None),
                "saved_max": max(ratios, default=None),
            }
        )
    model = {"final": "the final model", "proxy": "the proxy", "either": "the final model, or else the proxy,"}[measure]
    return Table(
        title="Labels and cost for an accuracy",
        columns=("accuracy", "arm", "seeds reaching", "labels", "cost", "labels saved"),
        rows=tuple(rows),
        numbers=tuple(numbers),
        names=2,
        note=f"Accuracy of {model} by straight lines between rounds. Saved: against random picks with the same seed.",
    )


def curve_table(records: Iterable[RunRecord]) -> Table:
    """One row an arm, seed and round: what the learning curves are drawn from."""
    columns = ("labelled", "feature_version", "refreshed", "proxy_accuracy", "final_accuracy", "logme", "logme_ped")
    numbers = [
        {"arm": record.arm, "seed": record.seed, **{column: one.get(column) for column in columns}}
        for record in records
        for one in record.rounds
    ]
    return Table(
        title="Rounds",
        columns=("arm", "seed", *columns),
        rows=tuple(tuple("" if value is None else str(value) for value in row.values()) for row in numbers),
        numbers=tuple(numbers),
        names=2,
    )


def spread(values: Sequence[float], *, percent: bool = False) -> str:
    """Mean and range: 0.675 (0.668 to 0.681)."""
    if not values:
        return "-"
    mean, low, high = (
        f"{100 * value:.0f} %" if percent else f"{value:.3f}"
        for value in (sum(values) / len(values), min(values), max(values))
    )
    return mean if low == high else f"{mean} ({low} to {high})"


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return "-" if value is None else f"{value:,.0f}"


def duration(seconds: float | None) -> str:
    """Seconds as people say them: 0.4 s, 80 s, 12 min, 3.5 h."""
    if seconds is None:
        return "-"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 600:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def dollars(value: float | None) -> str:
    """Dollars and cents."""
    return "-" if value is None else f"${value:,.2f}"


def _last(run: RunRecord, key: str) -> float | None:
    """The last number that a run measured."""
    return next((float(one[key]) for one in reversed(run.rounds) if one.get(key) is not None), None)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
