"""A server that speaks S3, on loopback, which can be cut off, slow, silent or refusing."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal
from urllib.request import Request, urlopen

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

_HOST = "127.0.0.1"
_REFUSAL = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
_LATE_SECONDS = 0.05
_WRITES = ("PUT", "POST", "DELETE")

Mood = Literal["well", "slow", "silent", "refusing", "refusing writes"]


class S3Server:
    """Moto's S3, behind something that can withhold its answers.

    Attributes
    ----------
    mood : {"well", "slow", "silent", "refusing", "refusing writes"}
        How requests are met from now on: as they should be, a twentieth of a second late, not until the mood is
        another, with a 403 each, or with one for each that writes.
    requests : Counter
        Of each mood.
    """

    def __init__(self) -> None:
        # A line for each request, else.
        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.requests: Counter[str] = Counter()
        self._mood: Mood = "well"
        self._changed = threading.Condition()
        self._application: Callable[..., Iterable[bytes]] = DomainDispatcherApplication(create_backend_app)
        self._port = 0
        self._server: Any = None
        self.restore()

    @property
    def environment(self) -> dict[str, str]:
        """What a client needs to find it, and it alone."""
        return {
            "AWS_ENDPOINT_URL": self._url,
            "AWS_ACCESS_KEY_ID": "nobody",
            "AWS_SECRET_ACCESS_KEY": "none",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }

    @property
    def mood(self) -> Mood:
        return self._mood

    @mood.setter
    def mood(self, mood: Mood) -> None:
        with self._changed:
            self._mood = mood
            self._changed.notify_all()

    def make_bucket(self, name: str) -> str:
        """A new bucket; its URI."""
        urlopen(Request(f"{self._url}/{name}", method="PUT")).close()
        return f"s3://{name}"

    def cut(self) -> None:
        """Answer nobody any more: nothing listens at the address."""
        self.mood = "well"
        self._server.shutdown()
        self._server.server_close()

    def restore(self) -> None:
        """Listen at the address again."""
        self.mood = "well"
        self._server = make_server(_HOST, self._port, self._answer, threaded=True)
        self._port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    @property
    def _url(self) -> str:
        return f"http://{_HOST}:{self._port}"

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        mood = self._mood
        self.requests[mood] += 1
        if mood == "slow":
            time.sleep(_LATE_SECONDS)
        elif mood == "silent":
            with self._changed:
                self._changed.wait_for(lambda: self._mood != "silent")
        elif mood == "refusing" or (mood == "refusing writes" and environ["REQUEST_METHOD"] in _WRITES):
            start("403 Forbidden", [("Content-Type", "application/xml")])
            return [b"" if environ["REQUEST_METHOD"] == "HEAD" else _REFUSAL]
        return self._application(environ, start)
