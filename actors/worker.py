"""The actor that holds an encoder: a thin shell around `asvp.compute.EncoderSession`."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import ray

from asvp.compute.jobs import Arrays, FineTuneJob
from asvp.compute.session import EncoderSession, ShardJob, ShardReport
from asvp.config import EncoderConfig
from asvp.data.source import Kind, Source
from asvp.models.proxy import Head


class _Worker:
    """Extracts shards and fine-tunes, one encoder in one process."""

    def __init__(self, config: EncoderConfig, kind: Kind, threads: int) -> None:
        self._session = EncoderSession(config, kind, threads)
        self._sources: dict[str, Source] = {}

    def node(self) -> str:
        """The node this actor lives on."""
        node: str = ray.get_runtime_context().get_node_id()
        return node

    def open(self, key: str, source: Source, fingerprint: str | None, weights: Arrays | None, threads: int) -> None:
        """Get ready for the shards of a source, with fine-tuned weights or the pre-trained ones (None).

        Its result is an argument of `extract`: calls of an actor with two threads keep no order by themselves.
        """
        self._sources = {key: source}
        self._session.use(fingerprint, None if weights is None else lambda: weights, threads)

    def extract(self, opened: None, key: str, task: ShardJob) -> tuple[pa.Table, ShardReport]:
        """The table of a shard, and what is told of it: two objects, so that the table need not travel."""
        return self._session.extract(task, self._sources[key])

    def train(self, job: FineTuneJob, threads: int) -> tuple[Arrays | None, tuple[Head, float]]:
        """The weights, and (head, seconds): two objects, so that the weights need not travel."""
        head, weights, seconds = self._session.train(job, threads=threads)
        return weights, (head, seconds)


Worker: Any = ray.remote(_Worker)
