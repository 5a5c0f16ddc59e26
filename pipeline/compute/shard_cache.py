"""Shards in the cache: written by whoever extracts them, and read back in place of another extraction."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from asvp.compute.jobs import ShardJob
from asvp.errors import CacheError
from asvp.features.cache import MissingPartError
from asvp.features.moments import Moments
from asvp.features.table import features_of


def stored_shard(job: ShardJob) -> pa.Table:
    """Read a shard from the cache.

    Raises
    ------
    MissingPartError
        If it is not there.
    DamagedPartError
        If it is damaged, or does not hold the rows of the job as finite features of its type; it is removed then.
    CacheError
        If the cache cannot be reached.
    """
    assert job.entry is not None
    name = job.stored or job.entry.parts().get(job.part)
    if name is None:
        raise MissingPartError("the shard is not stored", key=f"features/{job.entry.key}/{job.part}")
    buffer = job.entry.read(job.part, name)
    try:
        table = pa.ipc.open_file(buffer).read_all()
        fault = _fault(table, job)
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        raise job.entry.damaged(name, f"is no feature shard: {error}") from None
    if fault:
        raise job.entry.damaged(name, fault)
    if not np.isfinite(Moments.of(features_of(table)).mean).all():
        raise job.entry.damaged(name, "holds features that are not finite")
    return table


def store_shard(job: ShardJob, table: pa.Table) -> tuple[str | None, str | None]:
    """Write a shard into the cache, where there is one; (name of its file, why that failed), each None if it is not."""
    if job.entry is None:
        return None, None
    try:
        return job.entry.write(job.part, _serialised(table), "arrow"), None
    except CacheError as error:
        return None, str(error)


def _fault(table: pa.Table, job: ShardJob) -> str | None:
    """Why a table from the cache is not the shard of a job, if it is not."""
    if table.column_names != ["row", "feature"] or any(column.num_chunks != 1 for column in table.columns):
        return "is no feature shard: its columns are not row and feature"
    rows, features = table.columns
    kind = pa.from_numpy_dtype(np.dtype(job.dtype))
    if (
        not pa.types.is_fixed_size_list(features.type)
        or features.type.value_type != kind
        or not features.type.list_size
    ):
        return f"holds {features.type}, not features of {job.dtype}"
    if rows.type != pa.int64() or rows.null_count or features.null_count or features.chunk(0).flatten().null_count:
        return "holds empty places"
    if not np.array_equal(rows.to_numpy(), np.arange(job.start, job.stop)):
        return "holds other rows than it should"
    return None


def _serialised(table: pa.Table) -> pa.Buffer:
    """A table as an Arrow IPC file in memory."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue()
