"""The tokenizer or image processor that belongs to an encoder, and what `auto` becomes for it."""

from __future__ import annotations

from transformers import AutoImageProcessor, AutoTokenizer, PreTrainedModel

from asvp.config import EncoderConfig
from asvp.data.source import Kind
from asvp.errors import EncoderError
from asvp.models.encoder.backbone import Backbone, find_backbone
from asvp.models.encoder.images import ImageInputs
from asvp.models.encoder.inputs import Inputs, TextInputs
from asvp.models.encoder.remote_code import HOW_IT_IS_TRUSTED
from asvp.models.failures import encoder_errors
from asvp.models.quiet import quiet_transformers

_SMALLEST_SHARE = 0.5
"""Of an embedding table that its tokenizer uses; tables are padded, but not to twice their size."""


def resolve_dtype(config: EncoderConfig, kind: Kind, *, device: str | None = None) -> str:
    """What `dtype: auto` becomes here for this encoder: float32 or bfloat16; other values come back as they are."""
    return find_backbone(config, kind, device=device, weights=False).dtype_name


def resolve_encoder(config: EncoderConfig, kind: Kind, *, device: str | None = None) -> EncoderConfig:
    """The configuration with each `auto` that decides features replaced by what it becomes here for this encoder.

    Raises
    ------
    EncoderError
        If images are to be decoded in a way that is not possible here.
    """
    backbone = find_backbone(config, kind, device=device, weights=False)
    changed = {"dtype": backbone.dtype_name}
    if kind == "image":
        changed["decode"] = load_image_inputs(config, backbone).way
    return config.model_copy(update=changed)


def load_inputs(config: EncoderConfig, backbone: Backbone) -> Inputs:
    """The tokenizer or image processor in an encoder's folder, ready to prepare rows.

    Raises
    ------
    EncoderError
        If it cannot be loaded or used, or texts are to be longer than the model allows.
    """
    return _load_text(config, backbone) if backbone.kind == "text" else load_image_inputs(config, backbone)


def load_image_inputs(config: EncoderConfig, backbone: Backbone) -> ImageInputs:
    """`load_inputs` for images."""
    with (
        encoder_errors(
            "the image processor cannot be loaded",
            key="encoder.model",
            value=config.model,
            mend=f"The folder needs its preprocessor_config.json; {HOW_IT_IS_TRUSTED}",
        ),
        quiet_transformers(),
    ):
        # The same backend everywhere: torchvision's resizing gives other pixels than PIL's.
        processor = AutoImageProcessor.from_pretrained(  # type: ignore[no-untyped-call]
            backbone.folder, backend="pil", trust_remote_code=config.trust_remote_code, local_files_only=True
        )
        return ImageInputs(processor, backbone.device, config.decode)


def _load_text(config: EncoderConfig, backbone: Backbone) -> TextInputs:
    with (
        encoder_errors(
            "the tokenizer cannot be loaded",
            key="encoder.model",
            value=config.model,
            mend=f"The folder needs the tokenizer's files too; {HOW_IT_IS_TRUSTED}",
        ),
        quiet_transformers(),
    ):
        tokenizer = AutoTokenizer.from_pretrained(
            backbone.folder, trust_remote_code=config.trust_remote_code, local_files_only=True
        )
    longest = getattr(backbone.config, "max_position_embeddings", None)
    # XLNet says -1 for as many as one likes.
    if isinstance(longest, int) and 0 < longest < config.max_length:
        raise EncoderError(
            f"this model has {longest} positions", key="encoder.max_length", value=config.max_length, mend="Lower it"
        )
    with encoder_errors("the tokenizer cannot be used", key="encoder.model", value=config.model):
        return TextInputs(tokenizer, config.max_length, backbone.device)


def check_vocabulary(inputs: TextInputs, model: PreTrainedModel, config: EncoderConfig) -> None:
    """EncoderError if the tokenizer is not the one that the model's embedding table was trained with."""
    try:
        table = model.get_input_embeddings()
    except NotImplementedError:
        return
    rows = getattr(table, "num_embeddings", None)
    tokens = inputs.vocabulary()
    if rows is None or _SMALLEST_SHARE * rows <= tokens <= rows:
        return
    raise EncoderError(
        f"the tokenizer has {tokens:,} tokens, and the model's embedding table {rows:,}: it belongs to another model, "
        "or its files are missing",
        key="encoder.model",
        value=config.model,
        mend="Copy the tokenizer's files (tokenizer.json, vocab.txt and the like) into the folder",
    )
