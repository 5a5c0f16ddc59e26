"""What lies in the object store: shards, weights, and other things that jobs made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import ray
from numpy.typing import NDArray
from ray.exceptions import ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError

from asvp.actors.far_rows import far_rows
from asvp.compute.jobs import Arrays, ShardJob
from asvp.compute.model_store import stored_weights
from asvp.compute.shard_cache import stored_shard
from asvp.errors import AsvpError, CacheError, LostError
from asvp.features.cache import Cache

DIED = (RayActorError, OutOfMemoryError)
"""What a call raises when its actor is gone; one that the memory monitor ended is no RayActorError."""


@dataclass(frozen=True)
class ObjectStoreShard:
    """A table in the object store, read as a view; lost with its node, it is read from the cache, once a process."""

    reference: Any
    job: ShardJob
    _recovered: list[pa.Table] = field(default_factory=list, init=False, repr=False, compare=False)
    _read: list[bool] = field(default_factory=list, init=False, repr=False, compare=False)

    def __reduce__(self) -> tuple[Any, ...]:
        # Only the handle travels.
        return ObjectStoreShard, (self.reference, self.job)

    def table(self) -> pa.Table:
        """The table, as a view on the store of this node.

        Raises
        ------
        WorkError
            If it was lost and there is no cache to read it from.
        """
        if not self._recovered:
            try:
                table = ray.get(self.reference)
                self._read[:] = [True]
                return table
            except (ObjectLostError, *DIED):
                self._recovered.append(self._from_cache())
        return self._recovered[0]

    @classmethod
    def taken(cls, wanted: Sequence[tuple[ObjectStoreShard, NDArray[np.int64]]]) -> list[NDArray[np.floating] | None]:
        """Rows of shards on other nodes, where it pays to take them there; None for shards that are to be read here."""
        # What this process has read lies here, or is read as cheaply as the first time.
        unread = [place for place, (shard, _) in enumerate(wanted) if not shard._read and not shard._recovered]
        given = [wanted[place] for place in unread]
        found = far_rows(
            [shard.reference for shard, _ in given],
            [rows for _, rows in given],
            [len(rows) / (shard.job.stop - shard.job.start) for shard, rows in given],
        )
        taken: list[NDArray[np.floating] | None] = [None] * len(wanted)
        for place, features in zip(unread, found, strict=True):
            taken[place] = features
        return taken

    def _from_cache(self) -> pa.Table:
        if self.job.entry is None:
            raise lost("a feature shard was")
        try:
            return stored_shard(self.job)
        except CacheError as error:
            raise LostError(f"a feature shard was lost with its node, and in the cache: {error}") from None


@dataclass(frozen=True)
class ObjectStoreValue:
    """Something in the object store."""

    reference: Any

    def load(self) -> Any:
        """The thing itself; arrays in it are views on the store of this node."""
        return ray.get(self.reference)


@dataclass(frozen=True)
class ObjectStoreWeights:
    """Weights in the object store; lost with their node, they are read from the cache."""

    fingerprint: str
    reference: Any
    cache: Cache | None

    def load(self) -> Arrays:
        """The weights, as views on the store of this node.

        Raises
        ------
        WorkError
            If they were lost and there is no cache to read them from.
        """
        try:
            arrays: Arrays = ray.get(self.reference)
        except (ObjectLostError, *DIED):
            arrays = self._from_cache()
        return arrays

    def _from_cache(self) -> Arrays:
        if self.cache is None:
            raise lost("fine-tuned weights were")
        try:
            return stored_weights(self.fingerprint, self.cache)
        except CacheError as error:
            raise LostError(f"fine-tuned weights were lost with their node, and in the cache: {error}") from None


def lost(what: str) -> LostError:
    """The error for something that lay on a node that is gone."""
    return LostError(
        f"{what} lost with its node, and there is no cache to read it from",
        key="extraction.cache",
        mend="Set extraction.cache to a folder or URI that every node sees, and resume",
    )


def unwrap(error: RayTaskError) -> BaseException:
    """The error a remote call raised on purpose, as if it had been raised here; otherwise Ray's own."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, AsvpError) else error
