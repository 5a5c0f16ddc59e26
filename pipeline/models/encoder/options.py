"""`encoder.options`: overrides of a model's own configuration, held against what they mean there."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping
from typing import Any

from transformers import PreTrainedConfig

from asvp.errors import EncoderError, first_line

_SIZES = re.compile(
    r"(^|_)(layers?|heads?|sizes?|dims?|width|depths?|positions|d_model|d_ff|d_kv|n_embd|n_layer|n_head|blocks|experts)$"
)
_SHARES = re.compile(r"(dropout|drop|_prob|drop_rate|drop_path_rate)$")
_HEADS = re.compile(r"(^n_head|heads|head_dim|d_kv)$")
_NOT_OPTIONS = (
    "model_type",
    "architectures",
    "auto_map",
    "transformers_version",
    "dtype",
    "torch_dtype",
    "return_dict",
    "quantization_config",
)
_MEND = "Options can shorten a model, not change its widths"


def with_options(model_config: PreTrainedConfig, options: Mapping[str, Any]) -> PreTrainedConfig:
    """The configuration with the options in it.

    Fewer layers also shorten the lists that say something of each layer, where these are not given themselves.

    Raises
    ------
    EncoderError
        If the model has no such option, or a value cannot be what the option means. The key names the option.
    """
    if not options:
        return model_config
    before = model_config.to_dict()
    renamed = {}
    for name, value in options.items():
        own = model_config.attribute_map.get(name, name)
        if own not in before or name in _NOT_OPTIONS:
            raise _unknown(model_config, name, value)
        _check(name, value, before[own])
        # YAML reads 1 as a whole number, and transformers takes no whole number for a share.
        renamed[own] = float(value) if isinstance(before[own], float) and isinstance(value, int) else value
    try:
        changed = type(model_config).from_dict({**before, **_shortened(before, renamed), **renamed})
    except Exception as error:
        # The hub's strict dataclasses raise errors of their own, which derive from Exception alone.
        raise EncoderError(f"the model does not take this: {first_line(error)}", **_place(options)) from None
    after = changed.to_dict()
    for name, value in renamed.items():
        if not isinstance(value, Mapping) and after.get(name) != value and list_of(after.get(name)) != list_of(value):
            raise EncoderError("has no effect on this model", key=f"encoder.options.{name}", value=value)
    return changed


def blame(options: Mapping[str, Any]) -> dict[str, Any]:
    """Key, value and mend of an error about weights that do not fit a model with these options."""
    sized = {name: value for name, value in options.items() if _SIZES.search(name)}
    return {**_place(sized or options), "mend": _MEND if sized else "Leave it out, or use another value"}


def list_of(value: Any) -> Any:
    """Tuples as lists, as they come out of a file."""
    return list(value) if isinstance(value, tuple) else value


def _check(name: str, value: Any, before: Any) -> None:
    wanted = _wanted(name, value, before)
    if wanted is not None:
        raise EncoderError(f"must be {wanted}", key=f"encoder.options.{name}", value=value)
    if isinstance(before, int) and _HEADS.search(name) and value != before:
        raise EncoderError(
            f"the weights were trained with {before}", key=f"encoder.options.{name}", value=value, mend=_MEND
        )


def _wanted(name: str, value: Any, before: Any) -> str | None:
    """What the value should have been; None if it may be."""
    if before is None or value is None:
        return None
    if isinstance(before, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(before, (int, float)):
        return _wanted_number(name, value, before)
    if isinstance(before, str):
        return None if isinstance(value, str) else "a text"
    if isinstance(before, (list, tuple)):
        return None if isinstance(value, (list, tuple)) else f"a list, such as {list(before)[:8]}"
    if isinstance(before, Mapping):
        return None if isinstance(value, Mapping) else "a mapping"
    return None


def _wanted_number(name: str, value: Any, before: float) -> str | None:
    whole = isinstance(before, int)
    if isinstance(value, (list, tuple)) and _SIZES.search(name):
        # An image size of two sides, where the checkpoint has one.
        return None if all(isinstance(side, int) and side > 0 for side in value) else "positive whole numbers"
    share = _SHARES.search(name) is not None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return "a whole number" if whole and not share else "a number"
    if share:
        return None if 0 <= value <= 1 else "between 0 and 1"
    if whole and not isinstance(value, int):
        return "a whole number"
    if whole and before > 0 and value < 1 and _SIZES.search(name):
        return "at least 1"
    if whole and before >= 0 and value < 0 and name.endswith("_id"):
        return "a token's number"
    return None


def _shortened(before: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Lists with one entry a layer, cut to the layers asked for."""
    cut: dict[str, Any] = {}
    for name in ("num_hidden_layers", "num_layers", "n_layer", "n_layers"):
        count, layers = options.get(name), before.get(name)
        if not isinstance(count, int) or not isinstance(layers, int) or count >= layers:
            continue
        for other, value in before.items():
            if "layer" in other and isinstance(value, (list, tuple)) and len(value) == layers:
                cut[other] = list(value)[:count]
    return cut


def _unknown(model_config: PreTrainedConfig, name: str, value: Any) -> EncoderError:
    known = (set(model_config.to_dict()) | set(model_config.attribute_map)) - set(_NOT_OPTIONS)
    near = difflib.get_close_matches(name, sorted(known), n=1)
    return EncoderError(
        f"is no option of a {model_config.model_type} model",
        key=f"encoder.options.{name}",
        value=value,
        mend=f"Did you mean {near[0]}?" if near else "Its config.json lists the options",
    )


def _place(options: Mapping[str, Any]) -> dict[str, Any]:
    if len(options) == 1:
        name, value = next(iter(options.items()))
        return {"key": f"encoder.options.{name}", "value": value}
    return {"key": "encoder.options", "value": dict(options)}
