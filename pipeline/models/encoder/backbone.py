"""Which model class and configuration an encoder's folder stands for, and its weights."""

from __future__ import annotations

import dataclasses
import inspect
import typing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING

from asvp.config import EncoderConfig
from asvp.data.source import Kind
from asvp.errors import ConfigError, EncoderError
from asvp.models.encoder.location import encoder_folder, sentence_pooling
from asvp.models.encoder.options import blame, with_options
from asvp.models.encoder.pooling import Pooling
from asvp.models.encoder.remote_code import HOW_IT_IS_TRUSTED, check_code, own_model_class
from asvp.models.failures import encoder_errors, find_device
from asvp.models.precision import decide_dtype
from asvp.models.quiet import quiet_transformers

_CLASS_TOKEN_FAMILIES = ("vit", "deit", "dinov2", "dinov3_vit", "vit_msn", "vit_mae", "data2vec-vision")
_NO_POOLER = ("ijepa", "internvl_vision", "pixtral")
"""Families whose outputs have a place for a pooled one that stays empty."""
_CLASS_TOKENS = ("cls_token", "class_token", "class_embedding")
"""What the parameter is called that stands before the patches of an image."""


@dataclass(frozen=True)
class Backbone:
    """Everything that decides an encoder's features, apart from the weights in memory."""

    folder: Path
    kind: Kind
    config: PreTrainedConfig
    model_class: type[PreTrainedModel]
    pooling: Pooling
    dtype_name: str
    device: torch.device


def find_backbone(
    config: EncoderConfig, kind: Kind, *, device: str | torch.device | None = None, weights: bool = True
) -> Backbone:
    """Resolve an encoder without loading its weights.

    Raises
    ------
    EncoderError
        If there is no such encoder, it is of the wrong kind, or an option is unknown to it.
    """
    if kind == "features":
        raise EncoderError("ready-made features need no encoder", key="data.features")
    where = find_device(device)
    folder = encoder_folder(config, weights=weights)
    check_code(folder, config)
    model_config = with_options(_tower(_read_config(folder, config), kind), config.options)
    model_class = _model_class(model_config, folder, config, kind)
    return Backbone(
        folder=folder,
        kind=kind,
        config=model_config,
        model_class=model_class,
        pooling=_pooling(config, kind, model_config, model_class, folder),
        dtype_name=decide_dtype(config, where, lambda: _width(model_config, model_class)),
        device=where,
    )


CONVOLUTIONS = "channels-last"
"""How their weights lie in memory; it decides last bits of the features."""


def load_model(backbone: Backbone, config: EncoderConfig) -> PreTrainedModel:
    """The pre-trained model in float32 and evaluation mode, on the backbone's device.

    Raises
    ------
    EncoderError
        If weights are missing for layers that the features need, or have other shapes than the options ask for.
    """
    options = config.options
    about = blame(options) if options else {"key": "encoder.model", "value": config.model}
    with encoder_errors("the weights do not fit the model", **about), quiet_transformers():
        loaded: Any = backbone.model_class.from_pretrained(
            backbone.folder,
            config=backbone.config,
            use_safetensors=True,
            dtype=torch.float32,
            local_files_only=True,
            trust_remote_code=config.trust_remote_code,
            output_loading_info=True,
            # Shapes that differ are reported then, and refused below in words.
            ignore_mismatched_sizes=True,
        )
    model, report = loaded
    _check_report(report, backbone, config)
    with encoder_errors("the model does not fit on the device", key="device", value=str(backbone.device)):
        model = model.eval().to(backbone.device)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                # Pixels that lie together spare a copy before and after each convolution, on CPUs and on GPUs.
                module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)
        return cast(PreTrainedModel, model)


def check_checkpointing(model_class: type[PreTrainedModel]) -> None:
    """ConfigError if models of a class keep their activations whatever is asked of them."""
    if not model_class.supports_gradient_checkpointing:
        raise ConfigError(
            f"this encoder has no gradient checkpointing ({model_class.__name__})",
            key="training.checkpointing",
            value=True,
            mend="Set it to false, and lower training.batch_size if memory runs out",
        )


def prefix_tokens(model: PreTrainedModel, kind: Kind) -> int:
    """Tokens before the patches of an image: class, distillation and register tokens, as the model's weights have them.

    Zero for texts, whose first token is a token like the others to the mean.
    """
    if kind == "text":
        return 0
    count = 0
    for name, parameter in model.named_parameters():
        last = name.rpartition(".")[2]
        if last in _CLASS_TOKENS or last == "distillation_token":
            count += 1
        elif last == "register_tokens":
            count += parameter.shape[-2]
    return count


def _check_report(report: Any, backbone: Backbone, config: EncoderConfig) -> None:
    """EncoderError if a tensor of the model was not in the checkpoint in this shape, and so has random values."""
    mismatched = sorted(report["mismatched_keys"])
    options = config.options
    about = blame(options) if options else {"key": "encoder.model", "value": config.model}
    if mismatched:
        name, here, wanted = mismatched[0]
        raise EncoderError(
            f"the weights do not fit the model: {name} is {list(here)} in the checkpoint, {list(wanted)} in the model",
            **{"mend": "Its config.json belongs to other weights; copy the folder again", **about},
        )
    missing = sorted(str(name) for name in report["missing_keys"])
    if backbone.pooling != "pooler":
        # Many checkpoints come without the pooler that their class builds; it is not used here.
        missing = [name for name in missing if "pooler" not in name]
    if not missing:
        return
    message = f"the checkpoint has no weights for {len(missing)} tensors, among them {missing[0]}"
    if "pooler" in missing[0]:
        raise EncoderError(message, key="encoder.pooling", value=config.pooling, mend="Use pooling mean or cls")
    raise EncoderError(
        message,
        **{"mend": f"Give a checkpoint of a {backbone.config.model_type} model itself, with its own weights", **about},
    )


def _read_config(folder: Path, config: EncoderConfig) -> PreTrainedConfig:
    with (
        encoder_errors(
            "its config.json describes no model that the installed transformers knows",
            key="encoder.model",
            value=config.model,
            mend=f"Use a model that transformers itself has; {HOW_IT_IS_TRUSTED}",
        ),
        quiet_transformers(),
    ):
        return cast(
            PreTrainedConfig,
            AutoConfig.from_pretrained(folder, trust_remote_code=config.trust_remote_code, local_files_only=True),
        )


def _tower(model_config: PreTrainedConfig, kind: Kind) -> PreTrainedConfig:
    """The text or vision tower's configuration of a two-tower model such as CLIP; others as they are."""
    towers = {name: getattr(model_config, name, None) for name in ("text_config", "vision_config")}
    if all(isinstance(tower, PreTrainedConfig) for tower in towers.values()):
        return cast(PreTrainedConfig, towers["text_config" if kind == "text" else "vision_config"])
    return model_config


def _model_class(
    model_config: PreTrainedConfig, folder: Path, config: EncoderConfig, kind: Kind
) -> type[PreTrainedModel]:
    with encoder_errors(
        f"the installed transformers cannot build a {model_config.model_type} model",
        key="encoder.model",
        value=config.model,
    ):
        model_class = own_model_class(model_config, folder, config)
        if model_class is None and kind == "text":
            model_class = _text_encoder(model_config)
        if model_class is None:
            model_class = _listed(MODEL_MAPPING, model_config)
        if model_class is None:
            raise EncoderError(
                f"a {model_config.model_type} model gives no features", key="encoder.model", value=config.model
            )
        name = model_class.main_input_name
    reads = {"input_ids": "text", "pixel_values": "image"}.get(name, name)
    if reads != kind:
        raise EncoderError(
            f"is a model for {reads}, but the rows are {'texts' if kind == 'text' else 'images'}",
            key="encoder.model",
            value=config.model,
            mend=f"Choose {'a text' if kind == 'text' else 'an image'} model, or data of the other kind",
        )
    return model_class


def _listed(mapping: Any, model_config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    if type(model_config) not in mapping:
        return None
    found = mapping[type(model_config)]
    return cast(type[PreTrainedModel], found[0] if isinstance(found, tuple) else found)


def _text_encoder(model_config: PreTrainedConfig) -> type[PreTrainedModel] | None:
    """The encoder alone of an encoder-decoder model such as T5, also where it was saved alone."""
    found = _listed(MODEL_FOR_TEXT_ENCODING_MAPPING, model_config)
    return found if found is not None and found.__name__.endswith("EncoderModel") else None


def _pooling(
    config: EncoderConfig,
    kind: Kind,
    model_config: PreTrainedConfig,
    model_class: type[PreTrainedModel],
    folder: Path,
) -> Pooling:
    """The pooling asked for; for auto what suits the family."""
    if config.pooling != "auto":
        return config.pooling
    if kind == "text":
        return cast(Pooling, sentence_pooling(folder, config.model) or "mean")
    if model_config.model_type in _CLASS_TOKEN_FAMILIES:
        return "cls"
    declared = model_config.model_type not in _NO_POOLER and _declares_pooler(model_class)
    return "pooler" if declared else "mean"


def _declares_pooler(model_class: type[PreTrainedModel]) -> bool:
    """Whether the model's outputs have a pooled one; yes where its forward does not say."""
    try:
        said = typing.get_type_hints(model_class.forward).get("return", inspect.Parameter.empty)
    except (NameError, TypeError, AttributeError):
        return True
    outputs = [one for one in (said, *typing.get_args(said)) if dataclasses.is_dataclass(one)]
    names = {field.name for one in outputs for field in dataclasses.fields(one)}
    return not names or "pooler_output" in names


def _width(model_config: PreTrainedConfig, model_class: type[PreTrainedModel]) -> int:
    """How wide the matrix products are: the hidden width, or for a family without one, the widest square product."""
    widths: Any = getattr(model_config, "hidden_sizes", None) or [getattr(model_config, "hidden_size", None)]
    if isinstance(widths, (list, tuple)) and isinstance(widths[-1], int):
        return widths[-1]
    try:
        with quiet_transformers(), torch.device("meta"):
            skeleton = model_class(model_config)
    except Exception:
        # Some families cannot be built without memory; loading them tells what is wrong, if anything is.
        return 0
    shapes = [tuple(parameter.shape) for parameter in skeleton.parameters() if parameter.ndim > 1]
    return max((min(shape[0], shape[1]) for shape in shapes), default=0)
