"""Names of bought rows: those that the pool gives, each looked up once."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from asvp.data.source import View, ids_of
from asvp.driver import names
from asvp.driver.names import Names


class Counted:
    """Rows whose names are told row by row, and counted."""

    kind = "text"

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.asked: list[list[int]] = []

    def __len__(self) -> int:
        return self.rows

    def ids(self) -> pa.Array:
        raise AssertionError("all names are asked for")

    def ids_of(self, rows: np.ndarray) -> pa.Array:
        self.asked.append(rows.tolist())
        return pa.array([f"r{row}" for row in rows])


def test_names_of_a_large_pool_are_looked_up_once_each_and_in_ascending_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_FEW", 10)
    source: Any = Counted(100)
    found = Names(View(source, np.arange(99, -1, -1)))
    assert found.of(np.array([5, 3])).to_pylist() == ["r94", "r96"]
    assert found.of(np.array([5, 3, 9, 7])).to_pylist() == ["r94", "r96", "r90", "r92"]
    assert found.of(np.array([5, 3, 9, 7])).to_pylist() == ["r94", "r96", "r90", "r92"]
    assert [rows for rows in source.asked if rows] == [[96, 94], [92, 90]]


def test_other_rows_than_before_are_named_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "_FEW", 10)
    source: Any = Counted(100)
    found = Names(source)
    found.of(np.array([5, 3]))
    assert found.of(np.array([4])).to_pylist() == ["r4"]


def test_a_source_that_only_tells_all_names_is_asked_for_all() -> None:
    class Plain:
        def ids(self) -> pa.Array:
            return pa.array(["a", "b", "c"])

    plain: Any = Plain()
    assert ids_of(plain, np.array([2, 0])).to_pylist() == ["c", "a"]
