"""EncoderSession: one encoder in one process, doing extraction and fine-tuning."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from asvp.compute.jobs import Arrays, FineTuneJob, ShardJob
from asvp.compute.mates import Mates, NoMates, Seat, seated
from asvp.config import EncoderConfig
from asvp.data.source import ChosenRows, Kind, Readable, Source, rows_named
from asvp.errors import DeviceMemoryError, RowError, WorkError
from asvp.features.table import feature_table
from asvp.models.encoder import Encoder
from asvp.models.encoder.inputs import Prepared
from asvp.models.failures import empty_device_cache, no_room_for_a_row
from asvp.models.head import Head
from asvp.models.threads import cpu_threads
from asvp.models.training.finetune import fine_tune, largest_batch, linear_probe
from asvp.models.training.team import Team


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
    device : str, optional
        "cpu" or "cuda", for the encoder; None takes a GPU if there is one.
    """

    def __init__(
        self, config: EncoderConfig, kind: Kind, threads: int | None = None, *, device: str | None = None
    ) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        self._config = config
        self._kind = kind
        self._device = device
        self._encoder: Encoder | None = None
        self._loaded: str | None = None
        self._runs_on = torch.device("cpu")
        self._last_work: Literal["extraction", "training"] | None = None
        self._micro_batch: int | None = None
        self._extraction_threads = threads
        self._prepare_lock = threading.Lock()
        self._two_prepare = threading.Semaphore(2)
        self._encode_lock = threading.Lock()
        self._launcher: ThreadPoolExecutor | None = None

    @property
    def encoder(self) -> Encoder:
        """The encoder, loaded when first used."""
        if self._encoder is None:
            self._encoder = Encoder.load(self._config, self._kind, device=self._device)
            self._runs_on = self._encoder.device
        return self._encoder

    def use(
        self, fingerprint: str | None, load: Callable[[], Arrays] | None = None, threads: int | None = None
    ) -> None:
        """Take over fine-tuned weights, or return to the pre-trained ones (None); extract with so many CPU threads.

        Where the weights are those already, nobody waits: the shards of one extraction all ask for the same.
        """
        self._extraction_threads = threads
        if fingerprint != self._loaded:
            with self._prepare_lock, self._encode_lock:
                self._use(fingerprint, load)

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
            with self._preparing(encoder), rows_named(source, rows):
                prepared = encoder.prepare(ChosenRows(source, rows))
            with self._encode_lock, rows_named(source, rows):
                self._turn_to("extraction")
                fetch = self._launched(encoder, prepared)
            # A GPU goes on with the next shard meanwhile.
            with rows_named(source, rows):
                features = fetch()
                self._check_finite(features)
        return feature_table(features, job.start, job.dtype)

    def _preparing(self, encoder: Encoder) -> AbstractContextManager[object]:
        """Within, rows are read and tokenised: one shard at a time, where cores are what it takes.

        Beside a GPU processes do it, which would have nothing to do between two shards.
        """
        return self._prepare_lock if encoder.device.type == "cpu" else self._two_prepare

    def _launched(self, encoder: Encoder, prepared: Prepared) -> Callable[[], NDArray[np.float32]]:
        """The forward passes of a shard, begun; for a GPU always in one thread.

        Each thread has its own handles of CUDA's libraries, with memory of their own on the GPU, and its own plans,
        which take longer to make than a shard takes.
        """

        def begin() -> Callable[[], NDArray[np.float32]]:
            # OpenMP keeps the number for each calling thread.
            with cpu_threads(self._extraction_threads):
                return encoder.begin_encoding(prepared)

        if encoder.device.type == "cpu":
            return begin()
        if self._launcher is None:
            self._launcher = ThreadPoolExecutor(1, "asvp launch")
        return self._launcher.submit(begin).result()

    def train(
        self, job: FineTuneJob, threads: int | None = None, mates: Mates | None = None
    ) -> tuple[Head, Arrays | None]:
        """Do a job from the pre-trained weights.

        What does not fit in the GPU's memory is begun again with half as many rows in the model at a time, down to
        one; later trainings of the session start with as many as fitted then.

        Parameters
        ----------
        job : FineTuneJob
        threads : int, optional
            CPU threads while this lasts, where it is not what the session has otherwise.
        mates : Mates, optional
            Who trains the encoder too. They have to begin with each try, by `train_beside`.

        Returns
        -------
        head : Head
        weights : mapping of str to ndarray, or None
            None where the encoder was not trained.

        Raises
        ------
        DeviceMemoryError
            If the GPU's memory is not enough for one row at a time.
        TeamLostError
            If one of the mates has died, or does not answer.
        """
        with self._prepare_lock, self._encode_lock, cpu_threads(threads):
            self._use(None, None)
            self._turn_to("training")
            head = self._probe(job) if job.method in ("lp", "lp_ft") else None
            if head is not None and job.method == "lp":
                return head, None
            head = self._fine_tuned(job, head, mates or NoMates())
            return head, self.encoder.state()

    def train_beside(self, job: FineTuneJob, seat: Seat, threads: int | None = None) -> None:
        """Take part in one try of a training that another session does; the encoder is loaded anew afterwards.

        Raises
        ------
        TeamLostError
            If another of the team has failed, has died, or does not answer.
        """
        with self._prepare_lock, self._encode_lock, cpu_threads(threads):
            self._use(None, None)
            self._turn_to("training")
            try:
                rows = _inputs(job.source, job.rows)
                with seated(seat, self._device_of_encoder) as team:
                    self._try(job, rows, seat.head, seat.micro_batch, team)
            finally:
                # Its weights have been trained, but are not quite those of the job.
                self._encoder = None
                self._loaded = None

    def _fine_tuned(self, job: FineTuneJob, head: Head | None, mates: Mates) -> Head:
        """Train the encoder, anew with fewer rows at a time where they do not fit in the GPU's memory."""
        rows = _inputs(job.source, job.rows)
        largest = -(-largest_batch(len(rows), job.training.batch_size) // mates.size)
        at_once = min(self._micro_batch or largest, largest)
        while True:
            micro_batch = None if at_once == largest else at_once
            try:
                with (
                    self._changing_weights(job.key),
                    mates.training(head, micro_batch, self._device_of_encoder) as team,
                ):
                    trained = self._try(job, rows, head, micro_batch, team)
                if micro_batch is not None:
                    self._micro_batch = micro_batch
                return trained
            except DeviceMemoryError:
                if at_once == 1:
                    size = job.training.batch_size
                    raise no_room_for_a_row("training", batch="training.batch_size", size=size) from None
            # After the handler, whose error holds the model and its activations.
            empty_device_cache(self._runs_on)
            at_once //= 2

    def _try(
        self, job: FineTuneJob, rows: list[str] | list[bytes], head: Head | None, micro_batch: int | None, team: Team
    ) -> Head:
        with rows_named(job.source, job.rows):
            return fine_tune(
                self.encoder,
                rows,
                job.labels,
                classes=job.classes,
                config=job.training,
                seed=job.seed,
                head=head,
                micro_batch=micro_batch,
                team=team,
            )

    def _device_of_encoder(self) -> torch.device:
        return self.encoder.device

    def _turn_to(self, work: Literal["extraction", "training"]) -> None:
        """Between the two, give back the GPU memory that PyTorch holds: their tensors have other sizes."""
        if self._last_work not in (None, work):
            empty_device_cache(self._runs_on)
        self._last_work = work

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


def _inputs(source: Readable, rows: NDArray[np.int64]) -> list[str] | list[bytes]:
    taken = source.take(rows)
    assert isinstance(taken, list), "ready-made features need no encoder"
    return taken
