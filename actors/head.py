"""Ray's head, watched: once it is gone, work ends with an error of ours, before Ray ends this process in its own way.

Without its head Ray waits for a minute and then ends the process from C++, with a line of its own and past everything
that Python would still do. Whoever is inside one of its calls by then hears of nothing else.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

import ray

from asvp.errors import HeadLostError, PoolLostError
from asvp.stuck import end_stuck

_LOOK = 2.0
"""Seconds between two looks, and for which an answer is awaited."""
RAYS_SETTING = "RAY_gcs_rpc_server_reconnect_timeout_s"
_RAYS_SECONDS = 60.0
_GIVEN_UP, _STUCK = 2 / 3, 5 / 6
"""Parts of Ray's time after which the work is to end, and after which it is not waited for any more."""
_SIGNAL = signal.SIGURG
"""What wakes the main thread wherever it waits; of itself it does nothing to a process."""


class _Gone(KeyboardInterrupt):
    """Raised in the main thread: whatever ends in order at Ctrl-C does so here."""


@contextmanager
def head_watched() -> Iterator[None]:
    """Watch the head of the cluster that this process is connected to.

    Raises
    ------
    HeadLostError
        If it has answered nobody for two thirds of the time after which Ray ends a process (a minute, or what
        RAY_gcs_rpc_server_reconnect_timeout_s says). Outside the main thread, where nothing can be raised, and in a
        call of Ray's that ends no more, whoever has asked for it is told by `end_stuck`.
    """
    watch = _Watch(str(ray.get_runtime_context().gcs_address))
    before = signal.signal(_SIGNAL, watch.wake) if watch.by_main_thread else None
    threading.Thread(target=watch.look, name="asvp watch of the head", daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        if watch.lost:
            raise watch.error() from None
        raise
    except (ray.exceptions.RayError, PoolLostError) as error:
        # What was asked of it failed sooner.
        if watch.answered and not _answers(watch.address):
            raise watch.error() from error
        raise
    finally:
        watch.closed.set()
        if watch.by_main_thread:
            # None: what was there is not Python's, and cannot be put back.
            signal.signal(_SIGNAL, before or signal.SIG_DFL)


class _Watch:
    """Of the head with this address, HOST:PORT.

    Attributes
    ----------
    answered : bool
        Whether it ever has.
    lost : bool
        Whether it has been silent for too long.
    closed : threading.Event
        Set by whoever needs the head no more.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.answered = False
        self.lost = False
        self.closed = threading.Event()
        self.by_main_thread = threading.current_thread() is threading.main_thread()
        self._rays_seconds = _seconds_of_ray()

    def look(self) -> None:
        """Look now and then, until it is closed; tell once that the head is lost."""
        since: float | None = None
        patience = _GIVEN_UP * self._rays_seconds
        while since is None or time.monotonic() - since < patience:
            if _answers(self.address):
                self.answered, since = True, None
            elif self.answered and since is None:
                since = time.monotonic()
            if self.closed.wait(min(_LOOK, patience / 4)):
                return
        self.lost = True
        if self.by_main_thread:
            signal.pthread_kill(threading.main_thread().ident or 0, _SIGNAL)
        if not self.closed.wait((_STUCK - _GIVEN_UP) * self._rays_seconds):
            end_stuck(self.error())

    def wake(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signal."""
        if self.lost:
            raise _Gone()

    def error(self) -> HeadLostError:
        """What is to be told."""
        return HeadLostError(
            f"Ray's head at {self.address} is gone: nothing answers there any more",
            mend="Start the cluster anew, or use another",
        )


def _seconds_of_ray() -> float:
    """After which Ray ends a process whose head is silent."""
    try:
        return float(os.environ.get(RAYS_SETTING, _RAYS_SECONDS))
    except ValueError:
        return _RAYS_SECONDS


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_LOOK):
            return True
    except (OSError, ValueError):
        return False
