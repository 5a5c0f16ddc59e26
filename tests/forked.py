"""Processes that begin with everything imported: copies of one that has done nothing but import.

Importing PyTorch and transformers takes a command several times as long as its work on tiny data. A process started
here is a fork of a server that has imported them, and then goes the way of any other: its own folder, environment and
streams, signals as they are at a start, and Python's own end.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import suppress
from functools import cache, partialmethod
from pathlib import Path
from typing import Any

PRELOADED = (
    "transformers.models.bert.modeling_bert",
    "transformers.models.bert.tokenization_bert",
    "asvp.compute.bench",
    "asvp.driver.loop",
    "asvp.driver.preparation",
    "asvp.driver.check",
    "asvp.compute.in_process",
    "asvp.report.closing",
)
"""What the server imports; no module of the command line, which look at the streams, and nothing that needs Ray."""
SERVER = "ASVP_TESTS_FORK_SERVER"
"""The variable that tells Ray's workers where their server listens."""

_ANSWER = 8
"""Bytes of a number that the server sends."""


class Forked:
    """A process of its own, with the part of `subprocess.Popen` that tests use.

    Parameters
    ----------
    arguments : str
        As after `python`: `-m MODULE ...`, `-c CODE ...` or `FILE ...`.
    cwd : Path
    environment : dict of str to str
        Changes to that of this process.
    stdout, stderr : int, optional
        Descriptors; else what is written there is kept for `communicate`.
    start_new_session : bool
    """

    def __init__(
        self,
        *arguments: str,
        cwd: Path,
        environment: dict[str, str] | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        start_new_session: bool = False,
    ) -> None:
        self.returncode: int | None = None
        self._kept = [tempfile.TemporaryFile() if given is None else None for given in (stdout, stderr)]  # noqa: SIM115
        streams = [file.fileno() if file else given for file, given in zip(self._kept, (stdout, stderr), strict=True)]
        request = {
            "arguments": arguments,
            "cwd": str(cwd),
            "environment": {**os.environ, "OMP_NUM_THREADS": "1", **(environment or {})},
            "new_session": start_new_session,
        }
        self._connection = socket.socket(socket.AF_UNIX)
        self._connection.connect(_server())
        socket.send_fds(self._connection, [b"x"], [stream for stream in streams if stream is not None])
        self._connection.sendall(json.dumps(request).encode() + b"\n")
        self.pid = self._answer()

    def poll(self) -> int | None:
        """The exit status, a signal's number negative; None while it runs."""
        if self.returncode is None and select.select([self._connection], [], [], 0)[0]:
            self.returncode = self._answer()
            self._connection.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Wait for the end; what was written to the streams that are kept."""
        if self.returncode is None and not select.select([self._connection], [], [], timeout)[0]:
            os.kill(self.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired("a forked process", timeout)
        self.poll()
        told = []
        for file in self._kept:
            if file:
                file.seek(0)
            told.append(file.read().decode() if file else "")
        return told[0], told[1]

    def _answer(self) -> int:
        return int(self._connection.recv(_ANSWER, socket.MSG_WAITALL))


@cache
def fork_ray_workers() -> None:
    """Have every Ray that this process starts fork its workers, for as long as this process lives."""
    from ray._private.parameter import RayParams

    if SERVER not in os.environ:
        os.environ[SERVER] = _server()
    starter = str(Path(__file__).with_name("forked_ray_worker.py"))
    RayParams.__init__ = partialmethod(RayParams.__init__, setup_worker_path=starter)  # type: ignore[method-assign]


@cache
def _server() -> str:
    """Where a server of this process listens; it ends with this process."""
    folder = tempfile.TemporaryDirectory(prefix="asvp-fork", dir="/tmp", ignore_cleanup_errors=True)
    address = os.path.join(folder.name, "socket")
    process = subprocess.Popen(
        [sys.executable, __file__, address],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"

    def end() -> None:
        process.kill()
        process.wait()
        folder.cleanup()

    atexit.register(end)
    return address


def _serve(address: str) -> dict[str, Any]:
    """Fork for every request, and tell who asked how the process has ended; returns, in the fork, what was asked.

    A process of which nobody wants to know any more is killed.
    """
    for name in PRELOADED:
        __import__(name)
    # It reads its environment when it is imported.
    assert "ray" not in sys.modules
    # A thread is lost in a fork; that of Arrow's allocator is begun anew.
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    assert len([name for name in threads if name != "jemalloc_bg_thd"]) == 1, threads
    # The pages of what was imported stay shared.
    gc.freeze()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(waker)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    print("ready", flush=True)
    running: dict[int, socket.socket] = {}
    while True:
        ready = select.select([listener, woken, sys.stdin.fileno(), *running.values()], [], [])[0]
        if sys.stdin.fileno() in ready:
            # Whoever started this has ended.
            os._exit(0)
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(running):
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    with running.pop(pid) as connection, suppress(OSError):
                        connection.sendall(b"%*d" % (_ANSWER, os.waitstatus_to_exitcode(status)))
        for pid, connection in running.items():
            if connection in ready:
                os.kill(pid, signal.SIGKILL)
        if listener in ready:
            connection, _ = listener.accept()
            _, streams, _, _ = socket.recv_fds(connection, 1, 2)
            with connection.makefile("r") as lines:
                request: dict[str, Any] = json.loads(lines.readline())
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for other in (listener, connection, *running.values()):
                    other.close()
                os.close(woken)
                os.close(waker)
                _become(request, streams)
                return request
            running[pid] = connection
            connection.sendall(b"%*d" % (_ANSWER, pid))
            for stream in streams:
                os.close(stream)


def _become(request: dict[str, Any], streams: list[int]) -> None:
    """Take over the session, folder, environment and streams that were asked for."""
    if request["new_session"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    nothing = os.open(os.devnull, os.O_RDONLY)
    for number, stream in enumerate((nothing, *streams)):
        os.dup2(stream, number)
        os.close(stream)
    # As Python opens them at its start: what it found then may have been of another kind.
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        options = {"errors": "backslashreplace", "buffering": 1} if name == "stderr" else {}
        own = open(number, "w" if number else "r", closefd=False, **options)  # noqa: SIM115
        setattr(sys, name, own)
        setattr(sys, f"__{name}__", own)


def _run(arguments: list[str]) -> None:
    """What `python` does with its arguments."""
    first, *others = arguments
    if first == "-m":
        sys.argv = others
        sys.path[0] = os.getcwd()
        runpy.run_module(others[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *others[1:]]
        sys.path[0] = ""
        exec(compile(others[0], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(first).parent)
        runpy.run_path(first, run_name="__main__")


if __name__ == "__main__":
    _run(_serve(sys.argv[1])["arguments"])
