"""Which model class and configuration an encoder's folder stands for, and its weights."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING

from asvp.config import EncoderConfig
from asvp.data.source import Kind
from asvp.errors import EncoderError
from asvp.models.encoder.location import encoder_folder, sentence_pooling
from asvp.models.encoder.pooling import Pooling
from asvp.models.precision import decide_dtype
from asvp.models.quiet import quiet_transformers

_CLASS_TOKEN_FAMILIES = ("vit", "deit", "dinov2", "dinov3_vit", "ijepa", "vit_msn", "vit_mae", "data2vec-vision")
_NO_CLASS_TOKEN_FAMILIES = ("ijepa", "siglip_vision_model", "siglip2_vision_model", "swin", "swinv2")


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

    @property
    def width(self) -> int:
        """Hidden width of the last layer."""
        return _width(self.config)

    @property
    def has_class_token(self) -> bool:
        """Whether the first token stands for the whole row."""
        return self.config.model_type not in _NO_CLASS_TOKEN_FAMILIES

    @property
    def prefix_tokens(self) -> int:
        """Tokens before the patches of an image."""
        if self.kind == "text" or not self.has_class_token:
            return 0
        distilled = 1 if self.config.model_type == "deit" else 0
        return 1 + distilled + int(getattr(self.config, "num_register_tokens", 0) or 0)


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
    folder = encoder_folder(config, weights=weights)
    model_config = _with_options(_tower(_read_config(folder, config), kind), config)
    model_class = _model_class(model_config, config, kind)
    where = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    return Backbone(
        folder=folder,
        kind=kind,
        config=model_config,
        model_class=model_class,
        pooling=_pooling(config, kind, model_config, folder),
        dtype_name=decide_dtype(config, where, _width(model_config)),
        device=where,
    )


def load_model(backbone: Backbone, config: EncoderConfig) -> PreTrainedModel:
    """The pre-trained model in float32 and evaluation mode, on the backbone's device.

    Raises
    ------
    EncoderError
        If weights are missing for layers that the features need, or have other shapes than the options ask for.
    """
    try:
        with quiet_transformers():
            loaded: Any = backbone.model_class.from_pretrained(
                backbone.folder,
                config=backbone.config,
                use_safetensors=True,
                dtype=torch.float32,
                local_files_only=True,
                output_loading_info=True,
            )
    except (OSError, RuntimeError, ValueError, KeyError, ImportError) as error:
        key = "encoder.options" if config.options else "encoder.model"
        reason = "their shapes are other ones" if "ignore_mismatched_sizes" in str(error) else _first_line(error)
        raise EncoderError(
            f"the weights do not fit the model: {reason}",
            key=key,
            value=config.options or config.model,
            mend="Options can shorten a model, not change its widths" if config.options else None,
        ) from None
    model, report = loaded
    missing = sorted(str(name) for name in report["missing_keys"])
    if backbone.pooling != "pooler":
        # Many checkpoints come without the pooler that their class builds; it is not used here.
        missing = [name for name in missing if "pooler" not in name]
    if missing:
        raise EncoderError(
            f"the checkpoint has no weights for {len(missing)} tensors, among them {missing[0]}",
            key="encoder.pooling" if "pooler" in missing[0] else "encoder.model",
            value=config.pooling if "pooler" in missing[0] else config.model,
            mend="Use pooling mean or cls" if "pooler" in missing[0] else "Check encoder.options and the checkpoint",
        )
    return cast(PreTrainedModel, model.eval().to(backbone.device))


def _read_config(folder: Path, config: EncoderConfig) -> PreTrainedConfig:
    try:
        with quiet_transformers():
            return cast(
                PreTrainedConfig, AutoConfig.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
            )
    except (OSError, ValueError, KeyError) as error:
        raise EncoderError(
            f"its config.json describes no model that the installed transformers knows: {_first_line(error)}",
            key="encoder.model",
            value=config.model,
            mend="Code that comes with a checkpoint is never run; use a model that transformers itself has",
        ) from None


def _tower(model_config: PreTrainedConfig, kind: Kind) -> PreTrainedConfig:
    """The text or vision tower's configuration of a two-tower model such as CLIP; others as they are."""
    towers = {name: getattr(model_config, name, None) for name in ("text_config", "vision_config")}
    if all(isinstance(tower, PreTrainedConfig) for tower in towers.values()):
        return cast(PreTrainedConfig, towers["text_config" if kind == "text" else "vision_config"])
    return model_config


def _with_options(model_config: PreTrainedConfig, config: EncoderConfig) -> PreTrainedConfig:
    if not config.options:
        return model_config
    known = set(model_config.to_dict()) | set(model_config.attribute_map)
    for name in config.options:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1)
            raise EncoderError(
                f"is no option of a {model_config.model_type} model",
                key=f"encoder.options.{name}",
                value=config.options[name],
                mend=f"Did you mean {near[0]}?" if near else "Its config.json lists the options",
            )
    try:
        return type(model_config).from_dict({**model_config.to_dict(), **config.options})
    except (TypeError, ValueError, AttributeError) as error:
        raise EncoderError(
            f"the model does not take this: {_first_line(error)}", key="encoder.options", value=config.options
        ) from None
    except Exception as error:
        # The hub's strict dataclasses raise errors of their own, which derive from Exception alone.
        raise EncoderError(
            f"the model does not take this: {' '.join(str(error).split())}", key="encoder.options", value=config.options
        ) from None


def _model_class(model_config: PreTrainedConfig, config: EncoderConfig, kind: Kind) -> type[PreTrainedModel]:
    mapping = MODEL_MAPPING
    if kind == "text" and model_config.is_encoder_decoder and type(model_config) in MODEL_FOR_TEXT_ENCODING_MAPPING:
        mapping = MODEL_FOR_TEXT_ENCODING_MAPPING
    elif type(model_config) not in mapping:
        raise EncoderError(
            f"a {model_config.model_type} model gives no features", key="encoder.model", value=config.model
        )
    found = mapping[type(model_config)]
    model_class = cast(type[PreTrainedModel], found[0] if isinstance(found, tuple) else found)
    reads = {"input_ids": "text", "pixel_values": "image"}.get(model_class.main_input_name, model_class.main_input_name)
    if reads != kind:
        raise EncoderError(
            f"is a model for {reads}, but the rows are {'texts' if kind == 'text' else 'images'}",
            key="encoder.model",
            value=config.model,
            mend=f"Choose {'a text' if kind == 'text' else 'an image'} model, or data of the other kind",
        )
    return model_class


def _pooling(config: EncoderConfig, kind: Kind, model_config: PreTrainedConfig, folder: Path) -> Pooling:
    """The pooling asked for; for auto what suits the family."""
    if config.pooling != "auto":
        return config.pooling
    if kind == "text":
        return cast(Pooling, sentence_pooling(folder) or "mean")
    return "cls" if model_config.model_type in _CLASS_TOKEN_FAMILIES else "pooler"


def _width(model_config: PreTrainedConfig) -> int:
    widths: Any = getattr(model_config, "hidden_sizes", None)
    return int(widths[-1]) if widths else int(model_config.hidden_size)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
