"""What decides an encoder's features, as one digest, before it is loaded and after."""

from __future__ import annotations

import hashlib
import json

import numpy as np
from transformers import PreTrainedModel

from asvp.config import EncoderConfig
from asvp.data.decoding import DECODING
from asvp.data.source import Kind
from asvp.models.encoder.backbone import CONVOLUTIONS, Backbone, find_backbone
from asvp.models.encoder.decoding import PIXELS
from asvp.models.encoder.images import ImageInputs
from asvp.models.encoder.inputs import Inputs
from asvp.models.encoder.location import preprocessing_files, weight_files
from asvp.models.encoder.preprocessing import load_image_inputs
from asvp.models.encoder.remote_code import code_files
from asvp.models.encoder.scaling import MEASURED

_FINGERPRINT_VERSION = "asvp-encoder-1"


def encoder_spec_fingerprint(config: EncoderConfig, kind: Kind, *, device: str | None = None) -> str:
    """The fingerprint that `Encoder.load(config, kind, device=device)` will have, from its files alone.

    Weights that come from the hub are fetched; they are hashed but not loaded.
    """
    backbone = find_backbone(config, kind, device=device)
    if kind == "text":
        return spec_fingerprint(config, backbone)
    # What decodes elsewhere may not be here.
    here = config if config.decode == "auto" else config.model_copy(update={"decode": "pil"})
    inputs = load_image_inputs(here, backbone)
    if config.decode == "auto":
        config = config.model_copy(update={"decode": inputs.way})
    return spec_fingerprint(config, backbone, inputs)


def spec_fingerprint(config: EncoderConfig, backbone: Backbone, inputs: Inputs | None = None) -> str:
    """Hex digest of an encoder's files and of each option that decides its features; of images `inputs` is needed."""
    parts = [_FINGERPRINT_VERSION, backbone.kind, backbone.pooling, backbone.dtype_name]
    if backbone.kind == "text":
        parts.append(str(config.max_length))
    else:
        parts += [DECODING, CONVOLUTIONS]
        if config.decode in PIXELS:
            # Pillow's pixels are what features had before there were others.
            parts += ["decode", PIXELS[config.decode]]
        if isinstance(inputs, ImageInputs) and inputs.scaling.measured:
            # What a processor declares is what all features had before it was held against what the processor does.
            parts += ["scaling", MEASURED]
    if config.compile:
        parts.append("compile")
    parts.append(json.dumps(config.options, sort_keys=True, default=str))
    names = [backbone.folder / "config.json", *preprocessing_files(backbone.folder)]
    names += code_files(backbone.folder, config)
    for path in [*names, *weight_files(backbone.folder, config.model)]:
        with path.open("rb") as opened:
            parts += [path.name, hashlib.file_digest(opened, "sha256").hexdigest()]
    return joined_digest(*parts)


def weights_digest(model: PreTrainedModel) -> str:
    """Hex digest of the weights in memory."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        array = np.ascontiguousarray(tensor.detach().cpu().numpy())
        digest.update(f"{name}:{array.dtype}:{array.shape};".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def joined_digest(*parts: str) -> str:
    """Hex digest of texts in their order; where one ends counts too."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{len(part)}:{part}".encode())
    return digest.hexdigest()
