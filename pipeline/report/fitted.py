"""Tables in a terminal: names give way before numbers, which are never shortened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as RichTable
from rich.text import Text

_NAME, _SHORT_NAME, _PART_OF_A_WORD = 32, 12, 4
"""Widths of a name that other columns may take room from, at first and at last; of a piece of a heading."""
_BETWEEN = 3
"""A border and two blanks, which each column has."""


@dataclass(frozen=True)
class FittedTable:
    """A table of text in the width of a console, or in the least width that shows all numbers.

    Where it is too wide, headings are wrapped, long names are folded, and cells of several words are wrapped, in this
    order; words of headings are cut up where the table then fits. A word of a cell beyond the first `names` columns
    stays whole.

    Attributes
    ----------
    title, note : str
    columns : sequence of str
        Headings.
    rows : sequence of sequence of str
    names : int
        How many of the first columns are words, set to the left.
    folded : bool
        Whether names go on in a further line; otherwise they end in an ellipsis.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    names: int = 1
    folded: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = self._widths(options.max_width - 1 - _BETWEEN * len(self.columns))
        # As `Text`, whatever the console thinks of square brackets: names come from outside and are never markup.
        note = Text(self.note) if self.note else None
        table = RichTable(
            title=Text(self.title),
            title_justify="left",
            caption=note,
            caption_justify="left",
            width=sum(widths) + 1 + _BETWEEN * len(widths),
        )
        for i, (column, width) in enumerate(zip(self.columns, widths, strict=True)):
            name = i < self.names
            short = name and not self.folded
            table.add_column(
                Text(column),
                width=width,
                justify="left" if name else "right",
                overflow="ellipsis" if short else "fold",
                no_wrap=short,
            )
        for row in self.rows:
            table.add_row(*map(Text, row))
        yield table

    def _widths(self, room: int) -> list[int]:
        cells = [[row[i] for row in self.rows] for i in range(len(self.columns))]
        whole, words = [_widest(one) for one in cells], [_longest_word(one) for one in cells]
        heads = [cell_len(column) for column in self.columns]
        head_words = [_longest_word([column]) for column in self.columns]
        widths = [max(pair) for pair in zip(whole, heads, strict=True)]

        def least(name: int, cell: Sequence[int], heading: Sequence[int]) -> list[int]:
            return [min(width, name) if i < self.names else max(cell[i], heading[i]) for i, width in enumerate(widths)]

        # A name that is shortened takes no line for it, as a cell does that is wrapped.
        first = _NAME if self.folded else _SHORT_NAME
        pieces = [min(word, _PART_OF_A_WORD) for word in head_words]
        for name, cell in ((max(widths), whole), (first, whole), (first, words), (_SHORT_NAME, words)):
            widths = _narrowed(widths, least(name, cell, head_words), room)
        cut_up = _narrowed(widths, least(_SHORT_NAME, words, pieces), room)
        return cut_up if sum(cut_up) <= room else widths


def _narrowed(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Widths that come to the room there is, the widest narrowed first, none below its least."""
    found = list(widths)
    while sum(found) > room:
        loose = [i for i, width in enumerate(found) if width > least[i]]
        if not loose:
            break
        found[max(loose, key=found.__getitem__)] -= 1
    return found


def _widest(cells: Iterable[str]) -> int:
    return max(map(cell_len, cells), default=0)


def _longest_word(cells: Iterable[str]) -> int:
    return _widest(word for cell in cells for word in cell.split())
