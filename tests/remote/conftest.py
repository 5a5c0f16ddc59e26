"""A server that speaks S3, for all tests of a module, and a bucket for each."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest

from asvp.remote import objects


@pytest.fixture(scope="module")
def server() -> Iterator[Any]:
    pytest.importorskip("s3fs", reason="asvp[s3] is not installed")
    pytest.importorskip("moto", reason="moto is not installed")
    from s3_server import S3Server
    from s3fs import S3FileSystem

    # Clients of an earlier module's server.
    S3FileSystem.clear_instance_cache()
    server = S3Server()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in server.environment.items():
            patch.setenv(name, value)
        # Who waits in vain does not wait for long.
        patch.setitem(fsspec.config.conf, "s3", {"config_kwargs": {"retries": {"total_max_attempts": 1}}})
        patch.setattr(objects, "PATIENCE", 0.0)
        patch.setattr("asvp.remote.copies.PATIENCE", 0.0)
        yield server
    server.cut()


@pytest.fixture
def bucket(server: Any, request: pytest.FixtureRequest) -> Iterator[str]:
    """The URI of a bucket of the test's own."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower())
    yield server.make_bucket(name[-60:].strip("-"))
    server.mood = "well"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of data and encoder."""
    return tmp_path_factory.mktemp("tiny")
