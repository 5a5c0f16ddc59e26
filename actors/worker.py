"""The worker: an actor that does jobs, a thin shell around `asvp.compute.bench.Bench`."""

from __future__ import annotations

import os
import pickle
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import ray

from asvp.actors import metrics
from asvp.compute.heaps import few_heaps
from asvp.compute.jobs import (
    Arrays,
    EncoderSpec,
    ExtractionOrder,
    Job,
    Pickled,
    ProxyJob,
    ShardJob,
    ShardReport,
    Trained,
    TrainingOrder,
    shards_at_a_time,
)
from asvp.config import EncoderConfig
from asvp.spent import Share, Spent


class _Worker:
    """Does whatever it is asked for, for one driver at a time.

    Parameters
    ----------
    share : Share
        What it holds.
    cores : float
        Of the whole pool: no selection uses more threads.
    """

    def __init__(self, share: Share, cores: float) -> None:
        hands = shards_at_a_time(share)
        # One for each core: threads of tokenizers and decoders would wait for each other.
        few_heaps(max(hands, int(share.cpus)))
        # PyTorch is imported here, not above: the broker starts workers, and needs none.
        import torch

        from asvp.actors.selection import SelectionTeam
        from asvp.compute.bench import Bench
        from asvp.features.lateness import Lateness
        from asvp.models.failures import find_device

        threads = max(1, int(share.cpus))
        torch.set_num_threads(threads)
        # Read by the tokenizers library at its first work; other processes of the machine have cores of their own.
        os.environ |= {"RAYON_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false"}
        device = find_device(None).type if share.gpus else "cpu"
        self._bench = Bench(device, SelectionTeam(cores).picker)
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:8]}"
        # Each thread that computes keeps buffers of its own: always the same few do, whichever of Ray's threads asks.
        self._hands = ThreadPoolExecutor(hands, "asvp work")
        self._late = Lateness()
        self._active = 0
        self._idle = threading.Condition()

    def hello(self) -> tuple[str, str, dict[str, Any]]:
        """Its name, its node, and what it works on."""
        from asvp.compute.machine import describe_machine

        return self._name, ray.get_runtime_context().get_node_id(), describe_machine(self._bench.device)

    def extract(self, order: ExtractionOrder, job: ShardJob, share: Share) -> tuple[pa.Table, ShardReport]:
        """The table of a shard, and what is told of it: two objects, so that the table need not travel."""
        with self._at_work("extract"):
            table, report = self._hands.submit(self._bench.extract, order, job, share).result()
        if not report.reused:
            metrics.count("asvp_rows_extracted", report.rows)
            metrics.count("asvp_feature_bytes", table.nbytes)
        return table, report

    def train(self, order: TrainingOrder, share: Share, beside: Sequence[Any] = ()) -> tuple[Arrays | None, Trained]:
        """The weights, and what is told: two objects, so that the weights need not travel.

        Other workers of this node, `beside`, train the model too; it calls them.
        """
        from asvp.actors.mates import WorkerMates

        with self._at_work("train"):
            mates = WorkerMates(order, share, beside) if beside else None
            return self._hands.submit(self._bench.train, order, share, mates).result()

    def train_beside(self, order: TrainingOrder, share: Share, seat: Any) -> None:
        """Take part in one try of a training that another worker does."""
        with self._at_work("train"):
            self._hands.submit(self._bench.train_beside, order, share, seat).result()

    def do(self, job: Job, share: Share) -> tuple[Any, tuple[Any, Spent]]:
        """What a job makes, and (what is told of it, what it cost).

        A proxy is small, and is told rather than kept: it must not be lost with a node.
        """
        with self._at_work(type(job).__name__.removesuffix("Job").lower()):
            kept, (told, spent) = self._hands.submit(self._bench.do, job, share).result()
        if isinstance(job, ProxyJob):
            return None, (Pickled(pickle.dumps(kept)), spent)
        return kept, (told, spent)

    def resolve(self, encoder: EncoderSpec) -> EncoderConfig:
        """What an encoder is here, where its configuration says `auto`."""
        with self._at_work("resolve"):
            return self._bench.resolve(encoder)

    def memory(self) -> tuple[int, int]:
        """The most bytes of its GPU that were in use here, and all it has; zeros without one."""
        return self._bench.memory()

    def answer(self) -> str:
        """What it waits for, if that is to be told; who asks learns, too, that it does answer."""
        return self._late.look()

    def live(self) -> None:
        """Never return: who waits for it learns of the worker's death."""
        threading.Event().wait()

    def rest(self) -> None:
        """Return when there is nothing left to do."""
        with self._idle:
            self._idle.wait_for(lambda: self._active == 0)

    @contextmanager
    def _at_work(self, kind: str) -> Iterator[None]:
        with self._idle:
            self._active += 1
        began = time.perf_counter()
        try:
            yield
        finally:
            metrics.count("asvp_jobs", 1, kind=kind)
            metrics.count("asvp_job_seconds", time.perf_counter() - began, kind=kind)
            with self._idle:
                self._active -= 1
                self._idle.notify_all()


Worker: Any = ray.remote(_Worker)
"""An actor with a few shards at a time, of which one is in the forward pass, and room for other questions."""
