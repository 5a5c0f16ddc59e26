"""Processes that decode images, or tokenise texts.

Threads of one process would wait for Python's lock most of the time, and so would the thread that keeps a GPU busy.
"""

from __future__ import annotations

import json
import math
import os
import queue
import socket
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from asvp.data.pixels import Reader, UnusableError
from asvp.data.reading_process import Place, receive, receive_head, send
from asvp.data.shared_memory import SharedMemory
from asvp.errors import WorkError

_MOST_A_REQUEST = 8
_LINES = 2
"""To each process: it reads for one while the other is busy with what was asked or answered."""
_REQUESTS = 4
"""For each process in a batch, so that the last ones to finish are waited for only shortly."""
_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from asvp.data.reading_process import serve; serve(*json.loads(sys.argv[2]))"
)


@dataclass
class _Lane:
    """A process and one of the lines to it."""

    process: subprocess.Popen[bytes]
    connection: socket.socket
    ready: Future[None] = field(default_factory=Future)


class ReadingProcesses:
    """Some processes that stay, and read batches together.

    They are programs of their own, not forks of this process, so that threads and CUDA here do no harm to them; they
    see no GPU. Each ends when this process closes its line or ends in whatever way, SIGKILL included.

    Parameters
    ----------
    readers : mapping of str to Reader
        What they can be asked for.
    count : int
        How many.
    work : str
        What they do, for messages.
    threads : int
        That the tokenizers library may use in each.
    rooms : mapping of str to int, optional
        Bytes of most of what a reader makes: it comes back in memory that all of them see. What is larger, and what
        readers make that are not named, comes over the line.
    """

    def __init__(
        self,
        readers: Mapping[str, Reader],
        count: int,
        *,
        work: str = "decodes images",
        threads: int = 1,
        rooms: Mapping[str, int] | None = None,
    ) -> None:
        self.count = count
        self._work = work
        self._rooms = dict(rooms or {})
        self._memory = SharedMemory()
        self._lanes: list[_Lane] = []
        self._free: queue.SimpleQueue[_Lane] = queue.SimpleQueue()
        self._threads = ThreadPoolExecutor(_LINES * count, thread_name_prefix="reading")
        self._close = weakref.finalize(self, _hang_up, self._lanes, self._threads)
        for _ in range(count):
            self._lanes += _start(threads, self._memory.descriptor)
        # A process has its second request before it has more than one.
        for line in range(_LINES):
            for lane in self._lanes[line::_LINES]:
                self._free.put(lane)
        # In other threads: a tokenizer is more than a line takes before the other side is there to read.
        for lane in self._lanes:
            lane.ready = self._threads.submit(_introduce, lane, dict(readers))

    @property
    def ready(self) -> bool:
        """Whether all of them have started; does not wait.

        Raises
        ------
        WorkError
            If one of them ended.
        """
        for lane in self._lanes:
            if not lane.ready.done():
                return False
            with self._named_end(lane):
                lane.ready.result()
        return True

    def read(self, name: str, contents: Sequence[bytes]) -> list[np.ndarray | UnusableError]:
        """What a reader makes of some contents, in their order, whichever process had which.

        Arrays that have come in shared memory lie there one behind the other, as `stacked` likes them.

        Raises
        ------
        WorkError
            If one of them ended.
        """
        step = max(1, min(_MOST_A_REQUEST, len(contents) // (_REQUESTS * self.count)))
        room = self._rooms.get(name, 0)
        block = self._memory.take(room * len(contents)) if room else None

        def ask(start: int) -> list[np.ndarray | UnusableError]:
            part = contents[start : start + step]
            if block is None:
                return self._ask(name, part, None, None)
            offset, content = block
            return self._ask(name, part, Place(offset, len(content), start * room, room), content)

        done = list(self._threads.map(ask, range(0, len(contents), step)))
        return [one for part in done for one in part]

    @property
    def numbers(self) -> list[int]:
        """Of the processes, as the system counts them."""
        return [lane.process.pid for lane in self._lanes[::_LINES]]

    def close(self) -> None:
        """End them."""
        self._close()

    def _ask(
        self, name: str, contents: Sequence[bytes], place: Place | None, block: NDArray[np.uint8] | None
    ) -> list[np.ndarray | UnusableError]:
        lane = self._free.get()
        try:
            with self._named_end(lane):
                lane.ready.result()
                send(lane.connection, (name, [len(content) for content in contents], place), contents)
                found: list[np.ndarray | UnusableError] = []
                for number, one in enumerate(receive_head(lane.connection)):
                    if isinstance(one, UnusableError):
                        found.append(one)
                        continue
                    shape, is_placed = one
                    if is_placed and place is not None and block is not None:
                        begin = place.begin + number * place.room
                        found.append(block[begin : begin + math.prod(shape)].reshape(shape))
                    else:
                        found.append(_array(lane.connection, shape))
                return found
        finally:
            self._free.put(lane)

    @contextmanager
    def _named_end(self, lane: _Lane) -> Iterator[None]:
        """Turn a line that broke into a WorkError that says how the process ended."""
        try:
            yield
        except (EOFError, OSError):
            raise WorkError(
                f"a process that {self._work} ended by itself: {_how(lane.process)}",
                key="workers.cpus",
                mend="It may have been killed for want of memory: give a worker fewer cores, or start again",
            ) from None


class ProcessesOnDemand:
    """Processes that are begun where they pay, used from when they are there, and begun anew after one has ended.

    Thread-safe.

    Parameters
    ----------
    worth : int
        Contents after which they are begun: they take time to come, and memory.

    Attributes
    ----------
    current : ReadingProcesses or None
        Those that were begun, there or not.
    """

    def __init__(self, worth: int) -> None:
        self.current: ReadingProcesses | None = None
        self._worth = worth
        self._seen = 0
        self._lock = threading.Lock()

    def ready(self, contents: int, count: int, begin: Callable[[], ReadingProcesses | None]) -> ReadingProcesses | None:
        """The processes, if they are there; does not wait for them.

        Parameters
        ----------
        contents : int
            That are to be read now.
        count : int
            Processes wanted; more of them take the place of fewer. 0: none are wanted for these contents.
        begin : callable
            Begins as many as are wanted, or returns None where there can be none.

        Raises
        ------
        WorkError
            If one of them ended.
        """
        with self._lock:
            self._seen += contents
            if count == 0 or (self._seen < self._worth and self.current is None):
                return None
            if self.current is None or self.current.count < count:
                self.current = begin()
            try:
                return self.current if self.current is not None and self.current.ready else None
            except WorkError:
                self.current = None
                raise

    def read(
        self, processes: ReadingProcesses, name: str, contents: Sequence[bytes]
    ) -> list[np.ndarray | UnusableError]:
        """As `ReadingProcesses.read`; after a WorkError the next contents find others."""
        try:
            return processes.read(name, contents)
        except WorkError:
            self.close()
            raise

    def close(self) -> None:
        """Let them go; others are begun when they are needed."""
        with self._lock:
            # They end when nobody holds them: another thread may still wait for what they do.
            self.current = None


def _start(threads: int, memory: int) -> list[_Lane]:
    pairs = [socket.socketpair() for _ in range(_LINES)]
    descriptors = [theirs.fileno() for _, theirs in pairs]
    program = [sys.executable, "-c", _PROGRAM, json.dumps([path or os.getcwd() for path in sys.path])]
    # Whatever library opens threads in there would take cores from its neighbours; none of them may open a GPU.
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    environment |= {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true"}
    try:
        process = subprocess.Popen(
            [*program, json.dumps([descriptors, memory])],
            pass_fds=[*descriptors, *([memory] if memory >= 0 else [])],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            # An interrupt is for this process, which then hangs up.
            start_new_session=True,
        )
    finally:
        for _, theirs in pairs:
            theirs.close()
    return [_Lane(process, ours) for ours, _ in pairs]


def _introduce(lane: _Lane, readers: dict[str, Reader]) -> None:
    send(lane.connection, readers, ())
    receive_head(lane.connection)


def _array(connection: socket.socket, shape: tuple[int, ...]) -> np.ndarray:
    return np.frombuffer(receive(connection, math.prod(shape)), np.uint8).reshape(shape)


def _how(process: subprocess.Popen[bytes]) -> str:
    try:
        status = process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        return "its line is closed"
    return f"signal {-status}" if status < 0 else f"exit status {status}"


def _hang_up(lanes: list[_Lane], threads: ThreadPoolExecutor) -> None:
    threads.shutdown(wait=False)
    for lane in lanes:
        # A thread that waits for an answer hears of it, which closing alone does not do.
        with suppress(OSError):
            lane.connection.shutdown(socket.SHUT_RDWR)
        lane.connection.close()
    for lane in lanes:
        try:
            lane.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            lane.process.kill()
            lane.process.wait()
