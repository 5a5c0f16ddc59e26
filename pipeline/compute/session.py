"""EncoderSession: one encoder in one process, doing extraction and fine-tuning."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from asvp.compute.jobs import Arrays, FineTuneJob, ShardJob
from asvp.config import EncoderConfig
from asvp.data.source import ChosenRows, Kind, Source, rows_named
from asvp.errors import RowError, WorkError
from asvp.features.table import feature_table
from asvp.models.encoder import Encoder
from asvp.models.head import Head
from asvp.models.threads import cpu_threads
from asvp.models.training.finetune import fine_tune, linear_probe


class EncoderSession:
    """Holds an encoder and does its work in this process.

    Thread-safe: with two threads the next shard is read and tokenised while the current one is in the forward pass.

    Parameters
    ----------
    config : EncoderConfig
    kind : {"text", "image", "features"}
        Of the rows; "features" need no encoder.
    threads : int, optional
        CPU threads of PyTorch in this process; what `use` says for extraction from then on.
    """

    def __init__(self, config: EncoderConfig, kind: Kind, threads: int | None = None) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._config = config
        self._kind = kind
        self._encoder: Encoder | None = None
        self._loaded: str | None = None
        self._extraction_threads = threads
        self._prepare_lock = threading.Lock()
        self._encode_lock = threading.Lock()

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first used."""
        if self._encoder is None:
            self._encoder = Encoder.load(self._config, self._kind)
        return self._encoder

    def use(
        self, fingerprint: str | None, load: Callable[[], Arrays] | None = None, threads: int | None = None
    ) -> None:
        """Take over fine-tuned weights, or return to the pre-trained ones (None); extract with so many CPU threads."""
        with self._prepare_lock, self._encode_lock:
            self._use(fingerprint, load)
            self._extraction_threads = threads

    def extract(self, job: ShardJob, source: Source) -> pa.Table:
        """Read the rows of a shard and encode them.

        Returns
        -------
        pyarrow.Table {row: int64, feature: fixed_size_list[D]}
        """
        rows = np.arange(job.start, job.stop, dtype=np.int64)
        if self._kind == "features":
            features = np.asarray(source.take(rows))
        else:
            with self._prepare_lock:
                encoder = self.encoder
                with rows_named(source, rows):
                    prepared = encoder.prepare(ChosenRows(source, rows))
            # OpenMP keeps the number for each calling thread, so it is set in the one that encodes.
            with self._encode_lock, cpu_threads(self._extraction_threads), rows_named(source, rows):
                features = encoder.encode_prepared(prepared)
                self._check_finite(features)
        return feature_table(features, job.start, job.dtype)

    def train(self, job: FineTuneJob, threads: int | None = None) -> tuple[Head, Arrays | None]:
        """Do a job from the pre-trained weights.

        Parameters
        ----------
        job : FineTuneJob
        threads : int, optional
            CPU threads while this lasts, where it is not what the session has otherwise.

        Returns
        -------
        head : Head
        weights : mapping of str to ndarray, or None
            None where the encoder was not trained.
        """
        with self._prepare_lock, self._encode_lock, cpu_threads(threads):
            self._use(None, None)
            head = self._probe(job) if job.method in ("lp", "lp_ft") else None
            if head is not None and job.method == "lp":
                return head, None
            rows = _inputs(job.source, job.rows)
            with self._changing_weights(job.key), rows_named(job.source, job.rows):
                head = fine_tune(
                    self.encoder, rows, job.labels, classes=job.classes, config=job.training, seed=job.seed, head=head
                )
            return head, self.encoder.state()

    def _probe(self, job: FineTuneJob) -> Head:
        """A head on the features of the pre-trained encoder."""
        if self._kind == "features":
            features = np.asarray(job.source.take(job.rows))
        else:
            with rows_named(job.source, job.rows):
                features = self.encoder.encode(ChosenRows(job.source, job.rows))
                self._check_finite(features)
        return linear_probe(
            features, job.labels, classes=job.classes, seed=job.seed, class_weight=job.training.class_weight
        )

    def _use(self, fingerprint: str | None, load: Callable[[], Arrays] | None) -> None:
        if fingerprint == self._loaded:
            return
        if fingerprint is None:
            self._encoder = None
            self._loaded = None
            return
        assert load is not None
        with self._changing_weights(fingerprint):
            self.encoder.load_state(load())

    @contextmanager
    def _changing_weights(self, fingerprint: str) -> Iterator[None]:
        """The weights inside become those of a fingerprint; if that fails, the pre-trained ones are loaded anew."""
        try:
            yield
        except BaseException:
            self._encoder = None
            self._loaded = None
            raise
        self._loaded = fingerprint

    def _check_finite(self, features: NDArray[np.floating]) -> None:
        """Raise for a feature that is not finite: a training is at fault, or the half precision, or the row."""
        finite = np.isfinite(features).all(axis=1)
        if finite.all():
            return
        if self._loaded is not None:
            raise WorkError(
                f"the training diverged: the fine-tuned encoder's features of {int((~finite).sum()):,} of "
                f"{len(finite):,} rows are not finite",
                key="training.lr",
                mend="Lower it, or training.head_lr",
            )
        half = self.encoder.dtype_name != "float32"
        raise RowError(
            f"the encoder's feature of it is not finite in {self.encoder.dtype_name}",
            row=int(np.argmin(finite)),
            key="encoder.dtype" if half else "encoder.model",
            value=self.encoder.dtype_name if half else self._config.model,
            mend="Use encoder.dtype float32" if half else "Look at that row, or use another encoder",
        )


def _inputs(source: Source, rows: NDArray[np.int64]) -> list[str] | list[bytes]:
    taken = source.take(rows)
    assert isinstance(taken, list), "ready-made features need no encoder"
    return taken
