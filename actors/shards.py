"""Shards in the object store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError

from asvp.compute.session import ShardJob, stored_shard
from asvp.errors import AsvpError, CacheError, WorkError

DIED = (RayActorError, OutOfMemoryError)
"""What a call raises when its actor is gone; one that the memory monitor ended is no RayActorError."""


@dataclass(frozen=True)
class ObjectStoreShard:
    """A table in the object store, read as a view; lost with its node, it is read from the cache, once a process."""

    reference: Any
    task: ShardJob
    _recovered: list[pa.Table] = field(default_factory=list, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Only the handle travels.
        return ObjectStoreShard, (self.reference, self.task)

    def table(self) -> pa.Table:
        """The table, as a view on the store of this node.

        Raises
        ------
        WorkError
            If it was lost and there is no cache to read it from.
        """
        if not self._recovered:
            try:
                return ray.get(self.reference)
            except (ObjectLostError, *DIED):
                self._recovered.append(self._from_cache())
        return self._recovered[0]

    def _from_cache(self) -> pa.Table:
        if self.task.entry is None:
            raise WorkError(
                "a feature shard was lost with its node, and there is no cache to read it from",
                key="extraction.cache",
                mend="Set extraction.cache to a folder or URI that every node sees, and resume",
            )
        try:
            return stored_shard(self.task)[0]
        except CacheError as error:
            raise WorkError(f"a feature shard was lost with its node, and in the cache: {error}") from None


def unwrap(error: RayTaskError) -> BaseException:
    """The error a remote call raised on purpose, as if it had been raised here; otherwise Ray's own."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, AsvpError) else error
