"""What in a configuration comes to nothing, told before any work: options that have no part in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from asvp.config import Config, RefreshConfig
from asvp.data.open_source import plugin_place
from asvp.data.source import Kind
from asvp.driver.prepared import Prepared
from asvp.files import local_folder

WHOLE_POOL = "the budget is the whole pool, so that every strategy ends with the same rows"

_INDICATORS = ("logme", "logme_ped")
_OF_POLICIES = {
    "refresh.every": ("every",),
    "refresh.at": ("at",),
    "refresh.threshold": _INDICATORS,
    "refresh.min_growth": _INDICATORS,
    "refresh.min_left": _INDICATORS,
}
"""Options of some refresh policies alone."""
_OF_KINDS: Mapping[str, tuple[Kind, ...]] = {
    "data.text": ("text",),
    "data.max_text_bytes": ("text",),
    "data.max_image_bytes": ("image",),
    "encoder.max_length": ("text",),
    "encoder.decode": ("image",),
    "encoder": ("text", "image"),
    "training.augment": ("image",),
}
"""Options, and a section, of some kinds of rows alone."""
_OF_FINE_TUNES = tuple(
    f"training.{name}"
    for name in ("epochs", "lr", "head_lr", "weight_decay", "batch_size", "devices", "checkpointing", "augment")
)
"""What a linear probe has no use for."""


def told_before(prepared: Prepared) -> list[str]:
    """A sentence for each reason why options that somebody set have no part in a run."""
    by_reason: dict[str, list[str]] = {}
    for key, reason in without_part(prepared.config, prepared.dataset.kind).items():
        by_reason.setdefault(reason, []).append(key)
    return [_told(keys, f"with {reason}") for reason, keys in by_reason.items()]


def told_of_arms(arms: Sequence[tuple[Config, Kind]]) -> list[str]:
    """A sentence for the options that have no part in any arm of those that set them.

    An arm may have what is meant for another: a configuration, or an axis, is shared by all.
    """
    given = [set(options_given(config)) for config, _ in arms]
    idle = [set(without_part(config, kind)) for config, kind in arms]
    some = dict.fromkeys(key for config, _ in arms for key in options_given(config))
    useless = [key for key in some if not any(key in a and key not in b for a, b in zip(given, idle, strict=True))]
    return [_told(useless, "in any arm")] if useless else []


def without_part(config: Config, kind: Kind) -> dict[str, str]:
    """Options with another value than the default that are never looked at, and what they have no part with.

    Parameters
    ----------
    config : Config
        As it was read: what is decided as a run begins, such as `encoder.dtype`, counts as set.
    kind : {"text", "image", "features"}
        Of the rows.
    """
    found: dict[str, str] = {}
    for keys, reason in _rules(config, kind):
        for key in options_given(config):
            if any(key == one or key.startswith(f"{one}.") for one in keys):
                found.setdefault(key, reason)
    return found


def options_given(config: BaseModel, path: str = "") -> Iterator[str]:
    """Dotted keys of the options that have another value than the default.

    A value that is the default is not told from none: a run's own config.yaml spells all of them out.
    """
    for name, field in type(config).model_fields.items():
        value: Any = getattr(config, name)
        if isinstance(value, BaseModel):
            yield from options_given(value, f"{path}{name}.")
        elif value != field.get_default(call_default_factory=True):
            yield f"{path}{name}"


def _rules(config: Config, kind: Kind) -> Iterator[tuple[Sequence[str], str]]:
    """Options or sections that have no part, and why; of several reasons for one the first is told."""
    policy, data = config.refresh.policy, config.data
    if config.mode != "asvp":
        yield ("refresh",), f"mode {config.mode}"
    if config.mode == "standard":
        yield ("proxy",), "mode standard"
    if len(config.budget) == 1:
        yield ("selection.strategy", "selection.options", "selection.wrap", "refresh"), "a budget of one round"
    if policy == "never":
        yield [f"refresh.{name}" for name in RefreshConfig.model_fields if name != "policy"], "refresh.policy never"
    yield [key for key, policies in _OF_POLICIES.items() if policy not in policies], f"refresh.policy {policy}"
    # Whoever opens rows elsewhere may read any option of `data`.
    ours = plugin_place(data.pool) is None and (data.test is None or plugin_place(data.test) is None)
    of_others = [key for key, kinds in _OF_KINDS.items() if kind not in kinds and (ours or "data." not in key)]
    yield of_others, {"text": "texts", "image": "images", "features": "ready-made features"}[kind]
    if kind == "features":
        yield _OF_FINE_TUNES, "ready-made features"
    elif config.training.method == "lp" and (config.mode == "svp" or policy == "never") and config.mode != "standard":
        yield _OF_FINE_TUNES, "training.method lp where nothing is refreshed"
    if data.test is not None:
        yield ("data.test_share",), "test rows of their own (data.test)"
        if data.limit is None and data.test_limit is None and ours:
            yield ("data.shuffle_seed",), "all rows of data.pool and data.test"
    if config.extraction.cache is None:
        yield ("extraction.cache_limit",), "extraction.cache null"
    if config.encoder.model.startswith("package:") or local_folder(config.encoder.model) is not None:
        yield ("encoder.revision",), f"encoder.model {config.encoder.model}, which is no name of the hub"


def _told(keys: Sequence[str], where: str) -> str:
    if len(keys) == 1:
        return f"{keys[0]} has no part {where}, and changes nothing"
    return f"{', '.join(keys[:-1])} and {keys[-1]} have no part {where}, and change nothing"
