"""A pre-trained encoder: rows in, features out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel

from asvp.config import EncoderConfig
from asvp.data.decoding import DECODING
from asvp.data.source import Kind
from asvp.errors import EncoderError, RowError
from asvp.models.encoder.backbone import Backbone, find_backbone, load_model
from asvp.models.encoder.images import ImageInputs
from asvp.models.encoder.inputs import Batch, Inputs, Prepared, ReadAhead, TextInputs
from asvp.models.encoder.location import preprocessing_files, weight_files
from asvp.models.encoder.pooling import Pool
from asvp.models.precision import matmul_context
from asvp.models.quiet import quiet_transformers

_FINGERPRINT_VERSION = "asvp-encoder-1"
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
        self._pool = Pool(backbone.pooling, backbone.prefix_tokens, backbone.has_class_token)
        self._forward: Any = torch.compile(model, dynamic=True) if config.compile else model
        self._pristine: str | None = None
        self._part = inputs.batch_rows(config.batch_size) if isinstance(inputs, ImageInputs) else _ROWS_AT_ONCE
        self.dim = self._measure_dim()

    @classmethod
    def load(cls, config: EncoderConfig, kind: Kind, *, device: str | None = None) -> Encoder:
        """Load a pre-trained encoder.

        Parameters
        ----------
        config : EncoderConfig
            `model` is a hub name, a folder, or package:NAME/PATH; weights are read as safetensors only and no code
            that comes with a checkpoint is run.
        kind : {"text", "image"}
            What the rows are.
        device : str, optional
            "cpu" or "cuda"; None takes a GPU if there is one.

        Raises
        ------
        EncoderError
            If the encoder cannot be found, loaded, or used for this kind of rows.
        """
        backbone = find_backbone(config, kind, device=device)
        inputs = _load_inputs(config, backbone)
        return cls(config, backbone, load_model(backbone, config), inputs)

    def encode(self, rows: Sequence[str] | Sequence[bytes]) -> np.ndarray:
        """Features of rows, (N, D) float32, in the order given.

        Equal lists give equal features: batches depend on the list alone, and no random numbers are drawn.

        Raises
        ------
        DataError
            If a row is no text or no readable image; the message names its place in the list.
        """
        in_parts = self.kind == "image" or len(rows) > self._part
        return self.encode_prepared(self._in_parts(rows) if in_parts else self.prepare(rows))

    def prepare(self, rows: Sequence[str] | Sequence[bytes]) -> Prepared:
        """Tokenise or decode rows and cut them into batches: the processor's share of `encode`.

        Call it in a thread for the next rows while `encode_prepared` runs on the present ones. Texts are all tokenised
        when it returns; of images, whose pixels would fill the memory, no more than a few batches are decoded before
        `encode_prepared` asks for them, and no more are taken out of `rows`, which may be a sequence that reads the
        slices it is asked for.
        """
        if self.kind == "image":
            return self._in_parts(rows)
        return Prepared(len(rows), self._batches(rows, slice(0, len(rows))))

    def encode_prepared(self, prepared: Prepared) -> np.ndarray:
        """Features of prepared rows, (N, D) float32, in the order they were given to `prepare`."""
        home = self.device if prepared.rows <= _ROWS_ON_DEVICE else torch.device("cpu")
        features = torch.empty((prepared.rows, self.dim), device=home)
        self.model.train(False)
        # One context around all batches: autocast then converts each weight once, not once a batch.
        with torch.inference_mode(), matmul_context(self.device, self.dtype_name):
            for batch in prepared.batches:
                positions = torch.from_numpy(batch.positions).to(home)
                features[positions] = self._features(self._forward, batch.tensors).to(home)
        return features.cpu().numpy()

    def features(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """Features (n, D) float32 of one collated batch, with gradients: what fine-tuning differentiates."""
        with matmul_context(self.device, self.dtype_name):
            return self._features(self.model, tensors)

    def fingerprint(self) -> str:
        """Hex digest of all that decides the features: weights, options, pooling, pre-processing, matmul type.

        Encoders with equal fingerprints give equal features on one kind of machine. It follows the weights: it changes
        with fine-tuning and comes back when the first weights are loaded again.
        """
        spec = _spec_fingerprint(self.config, self._backbone)
        if self._pristine is None:
            return spec
        present = _state_digest(self.model)
        return spec if present == self._pristine else _digest(spec, "weights", present)

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
            self._pristine = _state_digest(self.model)

    def _in_parts(self, rows: Sequence[Any]) -> Prepared:
        """Prepare each part while the one before it is in the forward pass."""
        parts = (slice(start, start + self._part) for start in range(0, len(rows), self._part))
        prepared = ReadAhead(partial(self._batches, rows), parts, _PARTS_AHEAD)
        return Prepared(len(rows), chain.from_iterable(prepared))

    def _batches(self, rows: Sequence[Any], part: slice) -> list[Batch]:
        """The batches of a part of the rows; errors and batches tell places among all rows."""
        taken = rows[part]
        try:
            examples = self.inputs.read(taken)
            batches = []
            for positions in self.inputs.plan(examples, self.config.batch_size):
                tensors = self.inputs.collate(examples, positions)
                if self.device.type == "cuda":
                    tensors = {name: tensor.pin_memory() for name, tensor in tensors.items()}
                batches.append(Batch(positions + part.start, tensors))
            return batches
        except RowError as error:
            raise error.moved(part.start + error.row) from None

    def _features(self, forward: Any, tensors: Mapping[str, Tensor]) -> Tensor:
        moved = {name: tensor.to(self.device, non_blocking=True) for name, tensor in tensors.items()}
        return self._pool(forward(**self.inputs.on_device(moved)), moved.get("attention_mask"))

    def _measure_dim(self) -> int:
        """D, from a forward pass of one row without content."""
        blank = self.inputs.collate(self.inputs.blank(), np.zeros(1, np.int64))
        with torch.inference_mode(), matmul_context(self.device, self.dtype_name):
            return int(self._features(self.model, blank).shape[1])


def check_encoder(config: EncoderConfig, kind: Kind) -> None:
    """Raise EncoderError if the encoder cannot be loaded; weights are neither loaded nor fetched from the hub."""
    backbone = find_backbone(config, kind, weights=False)
    _load_inputs(config, backbone)


def encoder_spec_fingerprint(config: EncoderConfig, kind: Kind, *, device: str | None = None) -> str:
    """The fingerprint that `Encoder.load(config, kind, device=device)` will have, from its files alone.

    Weights that come from the hub are fetched; they are hashed but not loaded.
    """
    return _spec_fingerprint(config, find_backbone(config, kind, device=device))


def resolve_dtype(config: EncoderConfig, kind: Kind, *, device: str | None = None) -> str:
    """What `dtype: auto` becomes here for this encoder: float32 or bfloat16; other values come back as they are."""
    return find_backbone(config, kind, device=device, weights=False).dtype_name


def _load_inputs(config: EncoderConfig, backbone: Backbone) -> Inputs:
    return _load_text(config, backbone) if backbone.kind == "text" else _load_image(config, backbone)


def _load_image(config: EncoderConfig, backbone: Backbone) -> ImageInputs:
    try:
        with quiet_transformers():
            # The same backend everywhere: torchvision's resizing gives other pixels than PIL's.
            processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
                backbone.folder, backend="pil", trust_remote_code=False, local_files_only=True
            )
            return ImageInputs(processor, backbone.device)
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        raise EncoderError(
            f"the image processor cannot be loaded: {str(error).strip().splitlines()[0]}",
            key="encoder.model",
            value=config.model,
            mend="The folder needs its preprocessor_config.json",
        ) from None


def _load_text(config: EncoderConfig, backbone: Backbone) -> TextInputs:
    with quiet_transformers():
        try:
            tokenizer = AutoTokenizer.from_pretrained(backbone.folder, trust_remote_code=False, local_files_only=True)
        except Exception as error:
            # Broken or missing tokenizer files fail in many ways, some of them plain Exceptions of the Rust side.
            raise EncoderError(
                f"the tokenizer cannot be loaded: {str(error).strip().splitlines()[0]}",
                key="encoder.model",
                value=config.model,
                mend="The folder needs the tokenizer's files too",
            ) from None
    longest = getattr(backbone.config, "max_position_embeddings", None)
    if longest is not None and config.max_length > int(longest):
        raise EncoderError(
            f"this model has {longest} positions", key="encoder.max_length", value=config.max_length, mend="Lower it"
        )
    return TextInputs(tokenizer, config.max_length, backbone.device)


def _spec_fingerprint(config: EncoderConfig, backbone: Backbone) -> str:
    parts = [_FINGERPRINT_VERSION, backbone.kind, backbone.pooling, backbone.dtype_name]
    parts.append(str(config.max_length) if backbone.kind == "text" else DECODING)
    parts.append(json.dumps(config.options, sort_keys=True, default=str))
    names = [backbone.folder / "config.json", *preprocessing_files(backbone.folder)]
    for path in [*names, *weight_files(backbone.folder, config.model)]:
        with path.open("rb") as opened:
            parts += [path.name, hashlib.file_digest(opened, "sha256").hexdigest()]
    return _digest(*parts)


def _state_digest(model: PreTrainedModel) -> str:
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _digest(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()
