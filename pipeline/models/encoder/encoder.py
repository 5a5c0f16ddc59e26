"""A pre-trained encoder: rows in, features out."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel

from asvp.config import EncoderConfig
from asvp.data.read_ahead import ReadAhead
from asvp.data.source import Kind
from asvp.errors import EncoderError, RowError
from asvp.models.encoder.attention_kernels import attention_kernels
from asvp.models.encoder.backbone import Backbone, find_backbone, load_model, prefix_tokens
from asvp.models.encoder.compiling import DIFFERENCE, TRIED_ROWS, compiled
from asvp.models.encoder.fingerprint import joined_digest, spec_fingerprint, weights_digest
from asvp.models.encoder.images import ImageInputs
from asvp.models.encoder.inputs import Batch, Inputs, Prepared, TextInputs
from asvp.models.encoder.masks import known_padding, leaves_masks_unaltered
from asvp.models.encoder.pooling import Pool
from asvp.models.encoder.preprocessing import check_vocabulary, load_inputs
from asvp.models.encoder.reading import RowReader
from asvp.models.failures import (
    device_out_of_memory,
    empty_device_cache,
    encoder_errors,
    no_room_for_a_row,
    work_errors,
)
from asvp.models.precision import matmul_context
from asvp.models.sending import sent

_ROWS_AT_ONCE = 4096
"""Texts that `encode` holds prepared at a time, and once more while it prepares the next; of images it is a batch."""
_PARTS_AHEAD = 2
_ROWS_ON_DEVICE = 1 << 16
"""Features of longer lists are gathered in the machine's memory, not in the device's."""


class Encoder:
    """A transformers backbone with its tokenizer or image processor and a pooling.

    Make one with `Encoder.load`. Features are (N, D) float32 whatever the type of the matrix products.

    Attributes
    ----------
    kind : {"text", "image"}
    dim : int
        D, the width of a feature.
    device : torch.device
    dtype_name : str
        Type of the matrix products: float32, bfloat16 or float16; what `dtype: auto` became.
    pooling : {"mean", "cls", "pooler"}
        What `pooling: auto` became.
    model : transformers.PreTrainedModel
        The backbone, with float32 weights.
    """

    def __init__(self, config: EncoderConfig, backbone: Backbone, model: PreTrainedModel, inputs: Inputs) -> None:
        self.config = config
        self.kind: Kind = backbone.kind
        self.device = backbone.device
        self.dtype_name = backbone.dtype_name
        self.pooling = backbone.pooling
        self.model = model
        self.inputs = inputs
        self._backbone = backbone
        prefix = prefix_tokens(model, self.kind)
        self._pool = Pool(backbone.pooling, prefix, has_class_token=self.kind == "text" or prefix > 0)
        self._forward: Any = compiled(model, backbone.device) if config.compile else model
        self._masks_stay = leaves_masks_unaltered(model)
        self._pristine: str | None = None
        self._too_large: float = math.inf
        """Numbers in the smallest batch that ever did not fit in the GPU's memory."""
        self._part = inputs.batch_rows(config.batch_size) if isinstance(inputs, ImageInputs) else _ROWS_AT_ONCE
        self.dim = self._measure_dim()
        if config.compile:
            self._check_compiled()

    @classmethod
    def load(cls, config: EncoderConfig, kind: Kind, *, device: str | None = None) -> Encoder:
        """Load a pre-trained encoder.

        Parameters
        ----------
        config : EncoderConfig
            `model` is a hub name, a folder, or package:NAME/PATH; weights are read as safetensors only, and code
            that comes with a checkpoint is run only if `trust_remote_code` says so.
        kind : {"text", "image"}
            What the rows are.
        device : str, optional
            "cpu" or "cuda"; None takes a GPU if there is one.

        Raises
        ------
        EncoderError
            If the encoder cannot be found, loaded, or used for this kind of rows.
        ConfigError
            If there is no such device here.
        WorkError
            If the memory is not enough.
        """
        backbone = find_backbone(config, kind, device=device)
        inputs = load_inputs(config, backbone)
        model = load_model(backbone, config)
        if isinstance(inputs, TextInputs):
            check_vocabulary(inputs, model, config)
        return cls(config, backbone, model, inputs)

    def encode(self, rows: Sequence[str] | Sequence[bytes]) -> np.ndarray:
        """Features of rows, (N, D) float32, in the order given.

        Equal lists give equal features: batches depend on the list alone, and no random numbers are drawn.

        Raises
        ------
        DataError
            If a row is no text or no readable image; the message names its place in the list.
        WorkError
            If the memory is not enough, or the model fails.
        """
        in_parts = self.kind == "image" or len(rows) > self._part
        return self.encode_prepared(self._in_parts(rows) if in_parts else self.prepare(rows))

    def prepare(self, rows: Sequence[str] | Sequence[bytes]) -> Prepared:
        """Tokenise or decode rows and cut them into batches: the processor's share of `encode`.

        Call it in a thread for the next rows while `encode_prepared` runs on the present ones. Texts are all tokenised
        when it returns; of images, whose pixels would fill the memory, no more than a few batches are decoded before
        `encode_prepared` asks for them, and a few hundred encoded ones are taken out of `rows`, which may be a sequence
        that reads the slices it is asked for.
        """
        if self.kind == "image":
            return self._in_parts(rows)
        return Prepared(len(rows), self._batches(lambda: rows[:], 0))

    def encode_prepared(self, prepared: Prepared) -> np.ndarray:
        """Features of prepared rows, (N, D) float32, in the order they were given to `prepare`.

        A batch that does not fit in the GPU's memory is halved, down to one row; its features may then differ in the
        last bits from those of the whole batch.

        Raises
        ------
        DeviceMemoryError
            If a single row does not fit in the GPU's memory.
        WorkError
            If the machine's memory is not enough, or the model fails.
        """
        return self.begin_encoding(prepared)()

    def begin_encoding(self, prepared: Prepared) -> Callable[[], np.ndarray]:
        """Queue the forward passes of prepared rows; what is returned waits for them, and returns what they come to.

        As `encode_prepared`, errors included, but that other rows may be queued before a GPU is through with these: it
        goes on with them, rather than wait until somebody has fetched features of six megabytes.
        """
        home = self.device if prepared.rows <= _ROWS_ON_DEVICE else torch.device("cpu")
        self.model.train(False)
        # One context around all batches: autocast then converts each weight once, not once a batch.
        with (
            work_errors("encoding", batch="encoder.batch_size", size=self.config.batch_size),
            torch.inference_mode(),
            matmul_context(self.device, self.dtype_name),
        ):
            features = torch.empty((prepared.rows, self.dim), device=home)
            for positions, found in self._in_pieces_that_fit(prepared.batches):
                # Without waiting, so that the next batch's kernels are queued before this one's are through.
                features[_places(positions, home)] = found.to(home)
            return self._fetching(features)

    def _fetching(self, features: Tensor) -> Callable[[], np.ndarray]:
        """What waits for features on their way from a GPU; those of a CPU are there."""
        if features.device.type == "cpu":
            return features.numpy
        held = torch.empty(features.shape, pin_memory=True)
        held.copy_(features, non_blocking=True)
        event = torch.cuda.Event()  # type: ignore[no-untyped-call]
        event.record()

        def fetch() -> np.ndarray:
            with work_errors("encoding", batch="encoder.batch_size", size=self.config.batch_size):
                event.synchronize()
            # Memory that the system may not move is scarce, and is used again.
            fetched: np.ndarray = held.numpy().copy()
            return fetched

        return fetch

    def features(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Features (n, D) float32 of one collated batch, with gradients: what fine-tuning differentiates."""
        with matmul_context(self.device, self.dtype_name):
            return self._features(self.model, tensors)

    def fingerprint(self) -> str:
        """Hex digest of all that decides the features: weights, options, pooling, pre-processing, matmul type.

        Encoders with equal fingerprints give equal features on one kind of machine. It follows the weights: it changes
        with fine-tuning and comes back when the first weights are loaded again.
        """
        spec = spec_fingerprint(self.resolved(), self._backbone, self.inputs)
        if self._pristine is None:
            return spec
        present = weights_digest(self.model)
        return spec if present == self._pristine else joined_digest(spec, "weights", present)

    def resolved(self) -> EncoderConfig:
        """Its configuration with what `auto` became."""
        changed = {"dtype": self.dtype_name}
        if isinstance(self.inputs, ImageInputs):
            changed["decode"] = self.inputs.way
        return self.config.model_copy(update=changed)

    def state(self) -> dict[str, np.ndarray]:
        """The weights: a copy of each tensor of the model, by name."""
        return {name: tensor.detach().cpu().numpy().copy() for name, tensor in self.model.state_dict().items()}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Put weights made by `state` into the model.

        Raises
        ------
        EncoderError
            If names or shapes are not those of this model.
        """
        own = {name: tuple(tensor.shape) for name, tensor in self.model.state_dict().items()}
        given = {name: tuple(array.shape) for name, array in state.items()}
        wrong = sorted(name for name in own.keys() | given.keys() if own.get(name) != given.get(name))
        if wrong:
            raise EncoderError(
                f"the weights belong to another model: {wrong[0]} is {given.get(wrong[0])}, not {own.get(wrong[0])}",
                key="state",
                mend="Load them into the encoder they were taken from",
            )
        self.weights_will_change()
        with torch.no_grad():
            for name, tensor in self.model.state_dict().items():
                tensor.copy_(torch.tensor(state[name]))

    def weights_will_change(self) -> None:
        """Remember what the pre-trained weights were, so that the fingerprint follows the weights from here on."""
        if self._pristine is None:
            self._pristine = weights_digest(self.model)

    def _in_parts(self, rows: Sequence[Any]) -> Prepared:
        """Prepare each part while the one before it is in the forward pass, and read the rows of those behind it."""
        reader = RowReader(rows, self._part)

        def batches(start: int) -> list[Batch]:
            return self._batches(lambda: reader.take(min(self._part, len(rows) - start)), start)

        prepared = ReadAhead(batches, range(0, len(rows), self._part), _PARTS_AHEAD)
        return Prepared(len(rows), chain.from_iterable(prepared))

    def _batches(self, read: Callable[[], Sequence[Any]], start: int) -> list[Batch]:
        """The batches of some of the rows, from `start` on; errors and batches tell places among all rows."""
        batch_size = self.config.batch_size
        try:
            with work_errors("reading rows", batch="encoder.batch_size", size=batch_size):
                examples = self.inputs.read(read())
                batches = []
                for positions in self.inputs.plan(examples, batch_size):
                    tensors = self._collated(examples, positions)
                    if self.device.type == "cuda":
                        tensors = {name: one if one.is_cuda else one.pin_memory() for name, one in tensors.items()}
                    batches.append(Batch(positions + start, tensors))
            return batches
        except RowError as error:
            raise error.moved(start + error.row) from None

    def _collated(self, examples: Any, positions: np.ndarray) -> dict[str, Tensor]:
        """A batch, which is decoded on the device a few rows at a time where they do not fit together."""
        try:
            return self.inputs.collate(examples, positions)
        except RuntimeError as error:
            if not device_out_of_memory(error):
                raise
            size = self.config.batch_size
            raise no_room_for_a_row("decoding images", batch="encoder.batch_size", size=size) from None

    def _in_pieces_that_fit(self, batches: Iterable[Batch]) -> Iterator[tuple[np.ndarray, Tensor]]:
        """Positions and features of batches; those that do not fit in the GPU's memory are halved until they do."""
        for batch in batches:
            waiting = [batch]
            while waiting:
                piece = waiting.pop()
                # What was too large once is not tried again: each failure empties PyTorch's store of memory.
                hopeless = piece.size >= self._too_large and len(piece.positions) > 1
                found = None if hopeless else self._features_if_they_fit(piece)
                if found is not None:
                    yield piece.positions, found
                    continue
                self._too_large = min(self._too_large, piece.size)
                waiting += reversed(piece.halves())

    def _features_if_they_fit(self, batch: Batch) -> Tensor | None:
        """Features (n, D) of a batch; None if it has more rows than the GPU's memory can hold."""
        try:
            return self._features(self._forward, batch.tensors)
        except Exception as error:
            if not device_out_of_memory(error):
                raise
            if len(batch.positions) == 1:
                raise no_room_for_a_row("encoding", batch="encoder.batch_size", size=self.config.batch_size) from None
        # After the handler, whose error holds what was computed of the batch.
        empty_device_cache(self.device)
        return None

    def _features(self, forward: Any, tensors: Mapping[str, Tensor]) -> Tensor:
        moved = {name: sent(tensor, self.device) for name, tensor in tensors.items()}
        known = known_padding(tensors.get("attention_mask"), unaltered=self._masks_stay)
        with known, attention_kernels(tensors, self.device):
            outputs = forward(**self.inputs.on_device(moved))
        return self._pool(outputs, moved.get("attention_mask"))

    def _measure_dim(self) -> int:
        """D, from a forward pass of one row without content."""
        feature = self._blank_feature()
        if not np.isfinite(feature).all():
            half = self.dtype_name != "float32"
            raise EncoderError(
                f"the feature of a row without content is not finite in {self.dtype_name}",
                key="encoder.dtype" if half else "encoder.model",
                value=self.config.dtype if half else self.config.model,
                mend="Use encoder.dtype float32" if half else "The weights are damaged: copy or download them again",
            )
        return int(feature.shape[1])

    def _check_compiled(self) -> None:
        """Compile the forward pass, and hold a feature of it against one of the model as it is."""
        tensors = self.inputs.collate(self.inputs.probe(), np.zeros(TRIED_ROWS, np.int64))
        mend = "Set encoder.compile to false"
        with encoder_errors("the model cannot be compiled", key="encoder.compile", value=True, mend=mend):
            found = self._feature(tensors, self._forward)
        if not close_features(self._feature(tensors), found, DIFFERENCE):
            raise EncoderError("compiling changes the features", key="encoder.compile", value=True, mend=mend)

    def _blank_feature(self) -> np.ndarray:
        with encoder_errors(
            f"the model cannot be run on {'texts' if self.kind == 'text' else 'images'} alone",
            key="encoder.model",
            value=self.config.model,
            mend=self._mend_of_a_model_that_fails(),
        ):
            return self._feature(self.inputs.collate(self.inputs.blank(), np.zeros(1, np.int64)))

    def _mend_of_a_model_that_fails(self) -> str:
        if self._backbone.config.is_encoder_decoder:
            return "Choose another model: the encoder of this encoder-decoder cannot be used alone"
        reader = "tokenizer" if self.kind == "text" else "image processor"
        return f"Check that its {reader} belongs to it, or choose another model"

    def _feature(self, tensors: Mapping[str, Tensor], forward: Any = None) -> np.ndarray:
        self.model.train(False)
        with torch.inference_mode(), matmul_context(self.device, self.dtype_name):
            feature: np.ndarray = self._features(self.model if forward is None else forward, tensors).cpu().numpy()
        return feature


def _places(positions: np.ndarray, device: torch.device) -> slice | Tensor:
    """Where a batch's features go among those of all rows.

    Of neighbours nothing is sent to the device. A copy would be queued behind the forward pass, and a GPU's copies go
    one after the other, whatever stream they are of: those of the next images' decoding would wait for it.
    """
    first, last = int(positions[0]), int(positions[-1])
    if np.array_equal(positions, np.arange(first, last + 1)):
        return slice(first, last + 1)
    return sent(torch.from_numpy(positions), device)


def close_features(one: np.ndarray, other: np.ndarray, share: float) -> bool:
    """Whether two features differ by no more than a share of their length."""
    return bool(np.linalg.norm(one - other) <= share * max(float(np.linalg.norm(one)), 1e-12))
