"""Tables that read the same in a terminal, in Markdown, as plain text and as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from asvp.errors import one_line
from asvp.report.fitted import FittedTable


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

    def rich(self, *, folded: bool = True) -> FittedTable:
        """For a terminal, to be printed with `crop=False`: numbers are whole, if need be beyond its width.

        Parameters
        ----------
        folded : bool
            Whether names that have no room go on in a further line; otherwise they are shortened.
        """
        rows = [[one_line(cell) for cell in row] for row in self.rows]
        return FittedTable(self.title, self.columns, rows, one_line(self.note), self.names, folded)

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

    def html(self) -> str:
        """For a notebook or a page; every cell is text, never markup."""
        sides = ["left" if i < self.names else "right" for i in range(len(self.columns))]
        lines = (
            "".join(
                f'<{tag} style="text-align:{side}">{escape(cell)}</{tag}>'
                for side, cell in zip(sides, line, strict=True)
            )
            for tag, line in [("th", self.columns), *(("td", row) for row in self.rows)]
        )
        body = "".join(f"<tr>{line}</tr>" for line in lines)
        note = f"<p>{escape(self.note)}</p>" if self.note else ""
        return f"<table><caption>{escape(self.title)}</caption>{body}</table>{note}"

    def _repr_html_(self) -> str:
        return self.html()

    def csv(self) -> str:
        """The plain values, one line a row."""
        out = io.StringIO()
        writer = csv.DictWriter(out, list(self.numbers[0]) if self.numbers else list(self.columns), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.numbers)
        return out.getvalue()


def fixed(value: float, digits: int) -> str:
    """A number with so many digits after the point and thousands apart; what is rounded to zero has no sign."""
    text = f"{value:,.{digits}f}"
    return text.removeprefix("-") if not text.strip("-0.") else text


def per_cent(share: float) -> str:
    """A share in whole per cents."""
    return f"{fixed(100 * share, 0)} %"


def spread(values: Sequence[float], *, percent: bool = False) -> str:
    """Mean and range: 0.675 (0.668 to 0.681)."""
    if not values:
        return "-"
    mean, low, high = (
        per_cent(value) if percent else fixed(value, 3)
        for value in (sum(values) / len(values), min(values), max(values))
    )
    return mean if low == high else f"{mean} ({low} to {high})"


def count(value: float | None) -> str:
    """A whole number with thousands apart."""
    return "-" if value is None else fixed(value, 0)


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
    return "-" if value is None else f"${fixed(value, 2)}"
