"""Places that are not there, do not answer, or are no files, each said as what it is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from asvp.config import DataConfig
from asvp.data import open_dataset
from asvp.errors import DataError

ROWS = pa.table({"text": ["a", "b"], "label": ["x", "y"]})


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *parts: object) -> None:
        """Nothing."""


@pytest.fixture
def server(tmp_path) -> Iterator[str]:
    """Address of a web server for the test's folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def refused(place: str, *patterns: str) -> None:
    with pytest.raises(DataError) as caught:
        open_dataset(DataConfig(pool=place, test="builtin:debian_sections"))
    for pattern in ("data.pool", *patterns):
        assert pattern in str(caught.value), str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["t.parquet", "t.csv"])
def test_rows_of_a_web_server_are_read(server, tmp_path, name):
    pq.write_table(ROWS, tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("text,label\na,x\nb,y\n")
    data = open_dataset(DataConfig(pool=f"{server}/{name}", test=f"{server}/{name}"))
    assert data.pool.take(np.arange(2)) == ["a", "b"]
    assert len(data.pool.digest()) == 32


def test_a_missing_file_is_told_from_a_server_that_is_not_there(server):
    refused(f"{server}/none.parquet", "there is no such file")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        refused(f"http://127.0.0.1:{nobody.getsockname()[1]}/t.parquet", "cannot be reached", "Cannot connect")


def test_an_answer_that_is_a_web_page_is_called_one(server, tmp_path):
    (tmp_path / "t.parquet").write_text("<!DOCTYPE html><title>Sign in</title>")
    refused(f"{server}/t.parquet", "t.parquet is XML or a web page")


@pytest.mark.parametrize(
    "place", ["~nobody-here/x", "a\0b", "x" * 5000, "/dev/null", "ftp://127.0.0.1:9/x", "nope://x"]
)
def test_strange_places_are_data_errors(place):
    refused(place)
