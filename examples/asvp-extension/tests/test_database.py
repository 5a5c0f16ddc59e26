"""Tables of SQLite files keep every promise of a source, and what is wrong with one is said before work starts."""

from __future__ import annotations

import pickle
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from asvp_extension.database import open_table

from asvp.config import DataConfig
from asvp.data.testing import PROMISES
from asvp.errors import DataError

ROWS = 100


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "titles.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE titles (id TEXT, text TEXT, label TEXT, shelf INTEGER, odd)")
        rows = ((f"t{row}", f"title {row}", "xy"[row % 2], row % 3, "text" if row else 1) for row in range(ROWS))
        connection.executemany("INSERT INTO titles VALUES (?, ?, ?, ?, ?)", rows)
        connection.execute("DELETE FROM titles WHERE id = 't7'")
        connection.commit()
    return path


@pytest.mark.parametrize("options", [{}, {"id": None, "label": "shelf"}, {"label": "none"}], ids=str)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_keeps_every_promise(promise, options, file):
    promise(lambda: open_table(f"{file}?titles", DataConfig(**options)))


def test_rows_are_those_of_the_table_in_the_order_of_rowid(file):
    rows = open_table(f"{file}?titles", DataConfig())
    assert len(rows) == ROWS - 1
    assert rows.take(np.array([8, 0, 6])) == ["title 9", "title 0", "title 6"]
    assert rows.ids().to_pylist()[6:8] == ["t6", "t8"]
    assert rows.labels().to_pylist()[:3] == ["x", "y", "x"]


def test_the_content_does_not_travel(file):
    rows = open_table(f"{file}?titles", DataConfig())
    rows.take(np.arange(len(rows)))
    rows.digest()
    assert len(pickle.dumps(rows)) < 1000


def test_the_digest_follows_the_content(file):
    before = open_table(f"{file}?titles", DataConfig()).digest()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("UPDATE titles SET text = 'another' WHERE id = 't50'")
        connection.commit()
    assert open_table(f"{file}?titles", DataConfig()).digest() != before


@pytest.mark.parametrize(
    ("place", "options", "message"),
    [
        ("{file}.gone?titles", {}, "no such file"),
        ("{file}", {}, "Tables there: titles"),
        ("{file}?title", {}, "is no table"),
        ("{file}?titles", {"text": "txt"}, "data.text: is no column"),
        ("{file}?titles", {"text": "odd"}, "1 rows of titles have no text, the first has rowid 1"),
    ],
)
def test_what_is_wrong_is_said_when_it_is_opened(file, place, options, message):
    with pytest.raises(DataError, match=message):
        open_table(place.format(file=file), DataConfig(**options))


def test_labels_of_several_types_are_refused(file):
    with pytest.raises(DataError, match=r"data\.label: is a mixture"):
        open_table(f"{file}?titles", DataConfig(label="odd")).labels()
