"""A file system in memory that can be switched to fail as clients of object stores do: not with an OSError."""

from __future__ import annotations

from typing import Any

import fsspec
from fsspec.implementations.memory import MemoryFileSystem


class EndpointConnectionError(Exception):
    """As botocore's, which derives from Exception alone."""


class FailingFileSystem(MemoryFileSystem):
    """`failing://...`: memory, until `fails` is set to "read", "write" or "all"."""

    protocol = "failing"
    store: dict[str, Any] = {}  # noqa: RUF012
    pseudo_dirs = [""]  # noqa: RUF012
    fails = ""
    calls = 0

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return str(super()._strip_protocol(path.replace("failing://", "memory://")))

    @classmethod
    def _fail(cls, kind: str) -> None:
        cls.calls += 1
        if cls.fails in (kind, "all"):
            raise EndpointConnectionError('Could not connect to the endpoint URL: "http://store/[/bucket]"')

    def ls(self, path: str, detail: bool = True, **kwargs: Any) -> Any:
        self._fail("read")
        return super().ls(path, detail=detail, **kwargs)

    def cat_file(self, path: str, *args: Any, **kwargs: Any) -> Any:
        self._fail("read")
        return super().cat_file(path, *args, **kwargs)

    def exists(self, path: str, **kwargs: Any) -> bool:
        self._fail("read")
        return bool(super().exists(path, **kwargs))

    def pipe_file(self, path: str, value: bytes, *args: Any, **kwargs: Any) -> Any:
        self._fail("write")
        return super().pipe_file(path, value, *args, **kwargs)

    def rm_file(self, path: str) -> None:
        self._fail("write")
        super().rm_file(path)


fsspec.register_implementation("failing", FailingFileSystem, clobber=True)
