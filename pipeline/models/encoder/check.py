"""Whether an encoder can be used, found out before any work starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from asvp.config import EncoderConfig
from asvp.data.source import Kind
from asvp.errors import EncoderError
from asvp.models.encoder.backbone import check_checkpointing, find_backbone
from asvp.models.encoder.compiling import check_compiling
from asvp.models.encoder.encoder import Encoder, close_features
from asvp.models.encoder.inputs import TextInputs
from asvp.models.encoder.location import preprocessing_files, weight_files, weights_are_here
from asvp.models.encoder.preprocessing import load_inputs
from asvp.models.encoder.remote_code import code_files
from asvp.models.failures import encoder_errors

_TRIED = 2 << 30
"""Bytes of weights up to which an encoder is loaded for a check: seconds, and memory that any machine has."""
_NOISE = 1e-3
"""Share of a feature's length that may differ when the same row is encoded again."""
_PADDING = 0.03
"""Share that rows beside it may change: some families have convolutions that see a little of the padding."""


def check_encoder(
    config: EncoderConfig,
    kind: Kind,
    sample: Sequence[Any] = (),
    *,
    device: str | None = None,
    checkpointing: bool = False,
) -> None:
    """Raise what loading the encoder and using it for such rows would raise.

    Weights that lie here are loaded and tried on the CPU, unless they are very large; those of the hub that are not
    here yet are not fetched.

    Parameters
    ----------
    config : EncoderConfig
    kind : {"text", "image"}
    sample : sequence of str, optional
        Some of the texts, which the tokenizer must be able to tell apart.
    device : str, optional
        Where it is to run, which must know the type of the matrix products; None takes a GPU if there is one.
    checkpointing : bool
        Whether it is to be trained with gradient checkpointing.

    Raises
    ------
    EncoderError
        If the encoder cannot be found, loaded or used.
    ConfigError
        If there is no such device here, or the encoder has no gradient checkpointing.
    """
    backbone = find_backbone(config, kind, device=device, weights=False)
    if checkpointing:
        check_checkpointing(backbone.model_class)
    if config.compile:
        check_compiling(backbone.device)
    if config.decode == "gpu" and backbone.device.type == "cpu":
        # The workers' machines may have what this one has not, and say so themselves if they have not either.
        config = config.model_copy(update={"decode": "pil"})
    inputs = load_inputs(config, backbone)
    if isinstance(inputs, TextInputs):
        inputs.check_understanding(sample, config.model)
    if weights_are_here(backbone.folder, largest=_TRIED):
        files = [backbone.folder / "config.json", *preprocessing_files(backbone.folder)]
        files += [*weight_files(backbone.folder, config.model), *code_files(backbone.folder, config)]
        state = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
        _try_once(config.model_dump_json(), kind, state)


@lru_cache(maxsize=64)
def _try_once(config: str, kind: Kind, state: tuple[object, ...]) -> None:
    """Load and try an encoder; once for one state of its files, as a sweep checks many arms with one encoder."""
    plain = EncoderConfig.model_validate_json(config).model_copy(
        update={"dtype": "float32", "decode": "pil", "compile": False}
    )
    _try_out(Encoder.load(plain, kind, device="cpu"))


def _try_out(encoder: Encoder) -> None:
    """Put rows without content through the model, and hold what comes out against what features must be.

    Raises
    ------
    EncoderError
        If the model fails on the longest row that the configuration allows, or a row's feature changes with the
        rows beside it, or from one time to the next.
    """
    inputs = encoder.inputs

    def feature(tensors: Mapping[str, Tensor]) -> np.ndarray:
        with torch.inference_mode():
            return encoder.features(tensors).cpu().numpy()

    tensors = inputs.collate(inputs.probe(), np.zeros(1, np.int64))
    once, again = feature(tensors), feature(tensors)
    if not close_features(once, again, _NOISE):
        raise EncoderError(
            "gives another feature each time for the same row: it draws random numbers",
            key="encoder.model",
            value=encoder.config.model,
            mend="Choose another model; of a masked autoencoder, load the encoder as a plain vit",
        )
    if not isinstance(inputs, TextInputs):
        return
    with encoder_errors(
        "the model fails on a text of this many tokens",
        key="encoder.max_length",
        value=encoder.config.max_length,
        mend="Lower it",
    ):
        feature(inputs.longest())
    if not close_features(once, feature(inputs.padded()), _PADDING):
        raise EncoderError(
            "a row's feature depends on how long the rows beside it are: the model does not heed the attention "
            "mask, or the tokenizer pads with another token than the model expects",
            key="encoder.model",
            value=encoder.config.model,
            mend="Choose another model, or give the tokenizer that belongs to this one",
        )
