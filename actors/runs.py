"""Runs of shards: which shard a worker gets next, so that few decode the same piece of a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from asvp.compute.jobs import ShardJob


class Runs:
    """Shards that wait, as runs of neighbours that begin in the same piece; a run goes to one worker.

    So a piece is decoded by the worker that has its run, and by another one where the shard before reaches into it.
    When no run is left that nobody has, those that others have are shared: an idle worker costs more than a decoding.

    Parameters
    ----------
    jobs : sequence of ShardJob
        In row order. Those in the cache need no decoding, and are runs of their own.
    pieces : (P + 1,) int64, optional
        First row of each piece of the source, and the number of rows; None: every shard is a run.
    """

    def __init__(self, jobs: Sequence[ShardJob], pieces: NDArray[np.int64] | None = None) -> None:
        self._left = len(jobs)
        self._free = deque(_cut(jobs, pieces))
        self._held: dict[str, deque[ShardJob]] = {}

    def __len__(self) -> int:
        return self._left

    def take(self, holder: str) -> ShardJob | None:
        """The next shard for a worker: of the run it has, of a free one, or of another worker's; None if none waits."""
        if not self._held.get(holder):
            self._held[holder] = self._free.popleft() if self._free else self._share()
        run = self._held[holder]
        if not run:
            return None
        self._left -= 1
        return run.popleft()

    def release(self, holder: str) -> None:
        """A worker takes no more: the rest of its run is free."""
        run = self._held.pop(holder, None)
        if run:
            self._free.appendleft(run)

    def put_back(self, jobs: Iterable[ShardJob]) -> None:
        """Shards that were taken and are not done; they come next."""
        run = deque(jobs)
        self._left += len(run)
        if run:
            self._free.appendleft(run)

    def _share(self) -> deque[ShardJob]:
        """The later half of the longest run that another worker has."""
        longest = max(self._held.values(), key=len, default=deque[ShardJob]())
        later = [longest.pop() for _ in range((len(longest) + 1) // 2)]
        return deque(reversed(later))


def _cut(jobs: Sequence[ShardJob], pieces: NDArray[np.int64] | None) -> list[deque[ShardJob]]:
    if pieces is None:
        return [deque([job]) for job in jobs]
    homes = np.searchsorted(pieces, [job.start for job in jobs], side="right")
    runs: list[deque[ShardJob]] = []
    last: tuple[int, int] | None = None
    for job, home in zip(jobs, homes.tolist(), strict=True):
        if job.stored is None and last == (home, job.index - 1):
            runs[-1].append(job)
        else:
            runs.append(deque([job]))
        last = (home, job.index) if job.stored is None else None
    return runs
