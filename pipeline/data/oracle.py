"""The only holder of the pool's labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from asvp.data.source import check_rows
from asvp.errors import DataError

_BLOCK = 1 << 20


class Oracle:
    """Sells labels of pool rows and remembers which were bought.

    Parameters
    ----------
    labels : (N,) int64
        Class number of every pool row.
    classes : int
        C, the number of classes.
    """

    def __init__(self, labels: np.ndarray, classes: int) -> None:
        self._labels = np.ascontiguousarray(labels, dtype=np.min_scalar_type(max(classes - 1, 0)))
        self._classes = classes
        self._sold = np.zeros(len(labels), dtype=bool)
        self._order: list[np.ndarray] = []

    def __reduce__(self) -> tuple[Any, ...]:
        # Whoever takes it up in another process has bought nothing yet, and shares the labels.
        return Oracle, (self._labels, self._classes)

    def __len__(self) -> int:
        return len(self._labels)

    def buy(self, rows: np.ndarray) -> np.ndarray:
        """Labels of rows, which count as bought from now on; a row bought before is not bought twice.

        Parameters
        ----------
        rows : (n,) int64

        Returns
        -------
        (n,) int64
            Class numbers in the order asked for.
        """
        rows = check_rows(rows, len(self))
        distinct, first = np.unique(rows, return_index=True)
        fresh = distinct[np.argsort(first)]
        fresh = fresh[~self._sold[fresh]]
        self._sold[fresh] = True
        self._order.append(fresh)
        return np.asarray(self._labels[rows], dtype=np.int64)

    @property
    def bought(self) -> np.ndarray:
        """(n,) int64: rows bought so far, in the order of purchase."""
        return np.concatenate([np.empty(0, dtype=np.int64), *self._order])

    def labels(self, rows: np.ndarray) -> np.ndarray:
        """Labels of rows that were bought already.

        Raises
        ------
        DataError
            If one of them was not.
        """
        rows = check_rows(rows, len(self))
        unpaid = rows[~self._sold[rows]]
        if len(unpaid):
            raise DataError("labels were asked for that were not bought", key="row", value=int(unpaid[0]))
        return np.asarray(self._labels[rows], dtype=np.int64)

    def digest(self) -> str:
        """Fingerprint of all labels, bought or not: a run that goes on must find the labels it was begun with."""
        state = hashlib.blake2b(digest_size=16)
        for block in self._blocks():
            state.update(block.astype("<i8").data)
        return state.hexdigest()

    def counts(self) -> np.ndarray:
        """(C,) int64: rows of each class in the whole pool; for checks and reports, never for a strategy."""
        counts = np.zeros(max(self._classes, int(self._labels.max(initial=0)) + 1), np.int64)
        for block in self._blocks():
            counts += np.bincount(block, minlength=len(counts))
        return counts

    def _blocks(self) -> Iterator[np.ndarray]:
        """The labels piece by piece: as 64-bit numbers all of them would take eight times their memory."""
        return (self._labels[start : start + _BLOCK] for start in range(0, len(self._labels), _BLOCK))
