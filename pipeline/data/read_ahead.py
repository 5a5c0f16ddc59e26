"""Work that is done ahead of whoever takes its results."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

Job = TypeVar("Job")
Done = TypeVar("Done")


class ReadAhead(Generic[Job, Done]):
    """Results of jobs in their order, made by threads that are at most so many jobs ahead of what was taken.

    They begin at once, and wait for nobody: whoever takes no more leaves nothing running.

    Parameters
    ----------
    work : callable
    jobs : iterable
        What `work` is called with, one after the other.
    ahead : int
        Results in memory that nobody has taken yet, those being made included.
    threads : int
        Jobs that are done at a time.
    """

    def __init__(self, work: Callable[[Job], Done], jobs: Iterable[Job], ahead: int, threads: int = 1) -> None:
        self._work = work
        self._jobs = iter(jobs)
        self._threads = ThreadPoolExecutor(max_workers=threads)
        self._coming: deque[Future[Done]] = deque()
        self._begin(ahead)

    def __iter__(self) -> ReadAhead[Job, Done]:
        return self

    def __next__(self) -> Done:
        if not self._coming:
            self._threads.shutdown(wait=False)
            raise StopIteration
        done = self._coming.popleft().result()
        self._begin(1)
        return done

    def _begin(self, count: int) -> None:
        self._coming.extend(self._threads.submit(self._work, job) for job in islice(self._jobs, count))
