"""The labelled set of a run."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Rows = NDArray[np.int64]


class LabelledSet:
    """Rows bought so far, in the order of purchase.

    Attributes
    ----------
    rows, labels, rounds : ndarray of shape (n,), int64
        Row number, class number, and the round it was bought in.
    """

    def __init__(self) -> None:
        self.rows = self.labels = self.rounds = np.empty(0, np.int64)

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, rows: Rows, labels: Rows, number: int) -> None:
        """Add what a round bought."""
        self.rows = np.concatenate([self.rows, rows])
        self.labels = np.concatenate([self.labels, labels])
        self.rounds = np.concatenate([self.rounds, np.full(len(rows), number, np.int64)])

    def only(self, chosen: NDArray[np.bool_]) -> LabelledSet:
        """Those of the rows for which `chosen`, of shape (n,), is true."""
        part = LabelledSet()
        part.rows, part.labels, part.rounds = self.rows[chosen], self.labels[chosen], self.rounds[chosen]
        return part

    def until(self, number: int) -> LabelledSet:
        """Those that were bought up to and including a round."""
        return self.only(self.rounds <= number)

    def ascending(self) -> tuple[Rows, Rows]:
        """Rows in ascending order, and their labels: the set, whatever the order of purchase."""
        order = np.argsort(self.rows)
        return self.rows[order], self.labels[order]

    def table(self, ids: pa.Array, classes: tuple[str, ...]) -> pa.Table:
        """The table {row, id, label, round} of labelled.parquet; `ids` (n,) are the names of these rows."""
        return pa.table(
            {
                "row": self.rows,
                "id": ids,
                "label": pa.array(classes).take(pa.array(self.labels)),
                "round": self.rounds,
            }
        )


def rows_of_round(table: pa.Table, number: int) -> Rows:
    """Row numbers a labelled.parquet table has of a round, in the order of purchase."""
    rows: Rows = table.filter(pc.equal(table["round"], number))["row"].to_numpy()
    return rows
